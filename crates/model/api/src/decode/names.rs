//! What names, labels and annotations may look like.

use crate::limits::{LABEL_BYTES, NAME_BYTES};

/// What a label of RFC 1123 was expected to be.
pub(super) const RFC1123_LABEL: &str = "at most 63 lower-case letters, digits and '-', beginning \
     and ending with a letter or digit (RFC 1123 label)";

/// What a subdomain of RFC 1123 was expected to be.
pub(super) const RFC1123_SUBDOMAIN: &str = "at most 253 lower-case letters, digits, '-' and '.', \
     each part beginning and ending with a letter or digit (RFC 1123 subdomain)";

pub(super) fn is_rfc1123_label(text: &str) -> bool {
    text.len() <= LABEL_BYTES && is_dns_part(text)
}

pub(super) fn is_rfc1123_subdomain(text: &str) -> bool {
    text.len() <= NAME_BYTES && text.split('.').all(is_dns_part)
}

fn is_dns_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A label's or annotation's key: `[prefix/]name`, as Kubernetes' `IsQualifiedName` has it.
pub(super) fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_rfc1123_subdomain) && is_name_part(name)
}

/// A label's value: a name part, or empty.
pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name_part(text)
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            bytes.len() <= LABEL_BYTES
                && first.is_ascii_alphanumeric()
                && last.is_ascii_alphanumeric()
                && bytes
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        }
        _ => false,
    }
}

/// A port's name in Kubernetes: RFC 6335 section 5.1.
pub(super) fn is_kube_port_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.len() <= crate::limits::KUBE_PORT_NAME_BYTES
        && text.bytes().all(inner)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--")
}

/// A port's name in a Calico rule.
pub(super) fn is_calico_port_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !text.is_empty()
        && text.len() <= crate::limits::CALICO_PORT_NAME_BYTES
        && text.bytes().all(inner)
}

/// What a domain name was expected to be.
pub(super) const DOMAIN: &str =
    "a domain name such as example.com, or *.example.com for all names below it";

/// A domain name, perhaps with `*.` in front or a dot at the end.
pub(super) fn is_domain_name(text: &str) -> bool {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let name = name.strip_suffix('.').unwrap_or(name);
    text.len() <= NAME_BYTES && name.split('.').all(is_domain_part)
}

fn is_domain_part(text: &str) -> bool {
    let end = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    end(bytes.first()) && end(bytes.last()) && bytes.iter().all(inner)
}

/// A name of a network interface, or of a part of it.
pub(super) fn is_interface_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !text.is_empty() && text.len() <= crate::limits::INTERFACE_BYTES && text.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "a-b", "0", "a.b.c", &"a".repeat(253)] {
            assert!(is_rfc1123_subdomain(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            "A",
            "a_b",
            "-a",
            "a-",
            "a.-b",
            "ä",
            &"a".repeat(254),
        ] {
            assert!(!is_rfc1123_subdomain(bad), "{bad}");
        }
        assert!(is_rfc1123_label(&"a".repeat(63)));
        assert!(!is_rfc1123_label(&"a".repeat(64)));
        assert!(!is_rfc1123_label("a.b"));
    }

    #[test]
    fn labels() {
        for good in [
            "a",
            "A_b.c-d",
            "example.com/a",
            "kubernetes.io/metadata.name",
        ] {
            assert!(is_qualified_name(good), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a/b/c",
            "Ex.com/a",
            "-a",
            "a ",
            &"a".repeat(64),
        ] {
            assert!(!is_qualified_name(bad), "{bad}");
        }
        assert!(is_label_value(""));
        assert!(is_label_value("v1.2_3-X"));
        assert!(!is_label_value("a b"));
        assert!(!is_label_value("a-"));
    }

    #[test]
    fn domains_and_interfaces() {
        for good in ["a", "a.b", "*.a.b", "A-b.c_d.e.", "xn--a.b", "1.2"] {
            assert!(is_domain_name(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "*.",
            ".",
            "a..b",
            "a.*.b",
            "a*.b",
            "-a.b",
            "a_.b",
            "a b",
            "ä.b",
            &format!("{}.b", "a".repeat(252)),
        ] {
            assert!(!is_domain_name(bad), "{bad}");
        }
        assert!(is_interface_name("eth0.100"));
        for bad in ["", "a/b", "a b", "abcdefghijklmnop"] {
            assert!(!is_interface_name(bad), "{bad}");
        }
    }

    #[test]
    fn port_names() {
        for good in ["http", "a", "h2-c", "1a"] {
            assert!(is_kube_port_name(good), "{good}");
        }
        for bad in [
            "",
            "80",
            "HTTP",
            "a--b",
            "-a",
            "a-",
            "abcdefghijklmnop",
            "a_b",
        ] {
            assert!(!is_kube_port_name(bad), "{bad}");
        }
        assert!(is_calico_port_name("Http_1.x-"));
        assert!(!is_calico_port_name(""));
        assert!(!is_calico_port_name("a b"));
    }
}
