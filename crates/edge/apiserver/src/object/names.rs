//! The forms of names, label keys and label values (Kubernetes API conventions, RFC 1123).

/// A DNS label: the name of a namespace.
pub(crate) fn label(text: &str) -> Result<(), &'static str> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(inner) && ends_well(text) {
        return Ok(());
    }
    Err(
        "a lowercase RFC 1123 label has 1 to 63 of a-z, 0-9 and '-', and starts and ends with a letter or digit",
    )
}

/// A DNS subdomain: the name of most objects.
pub(crate) fn subdomain(text: &str) -> Result<(), &'static str> {
    let part = |part: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        part.bytes().all(inner) && ends_well(part)
    };
    if text.len() <= 253 && text.split('.').all(part) {
        return Ok(());
    }
    Err(
        "a lowercase RFC 1123 subdomain has at most 253 of a-z, 0-9, '-' and '.', and each part between dots starts \
         and ends with a letter or digit",
    )
}

/// `name` or `prefix/name`: the key of a label or annotation.
pub(crate) fn label_key(text: &str) -> Result<(), &'static str> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    if qualified(name) && !name.is_empty() && prefix.is_none_or(|prefix| subdomain(prefix).is_ok())
    {
        return Ok(());
    }
    Err(
        "a key is a name of 1 to 63 of A-Z, a-z, 0-9, '-', '_' and '.', starting and ending with a letter or digit, \
         perhaps after a DNS subdomain and '/'",
    )
}

/// The value of a label; may be empty.
pub(crate) fn label_value(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || qualified(text) {
        return Ok(());
    }
    Err(
        "a label value has at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', and starts and ends with a letter or digit",
    )
}

fn qualified(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.len() <= 63 && text.bytes().all(inner) && ends_well(text)
}

fn ends_well(text: &str) -> bool {
    let sound = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    sound(text.as_bytes().first()) && sound(text.as_bytes().last())
}
