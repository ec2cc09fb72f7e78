//! Bodies in protobuf, for the few kinds that `kubectl create KIND NAME` sends so since 1.32.
//!
//! A body is `k8s\0` and a `runtime.Unknown` (k8s.io/apimachinery), whose `raw` is the object by the
//! field numbers of `generated.proto` of k8s.io/api. A field that is not in the tables below is refused,
//! never dropped; such objects can be sent as JSON, as every manifest is.

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::registry::Resource;

/// The media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A message: number, name and form of its fields.
type Message = [(u64, &'static str, Form)];

#[derive(Clone, Copy)]
enum Form {
    Text,
    Flag,
    TextMap,
    Object(&'static Message),
    /// Only the server sets it, or it says what is known.
    Skip,
}

static NAMESPACE: [(u64, &str, Form); 3] = [
    (1, "metadata", Form::Object(&META)),
    (2, "spec", Form::Skip),
    (3, "status", Form::Skip),
];

static CONFIG_MAP: [(u64, &str, Form); 3] = [
    (1, "metadata", Form::Object(&META)),
    (2, "data", Form::TextMap),
    (4, "immutable", Form::Flag),
];

static SERVICE_ACCOUNT: [(u64, &str, Form); 2] = [
    (1, "metadata", Form::Object(&META)),
    (4, "automountServiceAccountToken", Form::Flag),
];

static META: [(u64, &str, Form); 11] = [
    (1, "name", Form::Text),
    (2, "generateName", Form::Text),
    (3, "namespace", Form::Text),
    (4, "selfLink", Form::Skip),
    (5, "uid", Form::Text),
    (6, "resourceVersion", Form::Text),
    (7, "generation", Form::Skip),
    (8, "creationTimestamp", Form::Skip),
    (11, "labels", Form::TextMap),
    (12, "annotations", Form::TextMap),
    (17, "managedFields", Form::Skip),
];

/// Reads a body as the JSON it stands for.
///
/// # Errors
/// 415 for kinds and fields that are not in the tables, 400 for bytes that are not protobuf.
pub(crate) fn decode(body: &[u8], resource: &Resource) -> Result<Value, Failure> {
    let message: &Message = match (resource.group, resource.kind) {
        ("", "Namespace") => &NAMESPACE,
        ("", "ConfigMap") => &CONFIG_MAP,
        ("", "ServiceAccount") => &SERVICE_ACCOUNT,
        _ => {
            let text = format!(
                "{} are read as JSON only: use a manifest with kubectl apply -f",
                resource.qualified()
            );
            return Err(Failure::unsupported_media(text));
        }
    };
    let mut envelope = Reader(body.strip_prefix(b"k8s\0").ok_or_else(broken)?);
    let mut raw: &[u8] = &[];
    while let Some((number, value)) = envelope.field()? {
        match (number, value) {
            (2, Wire::Bytes(bytes)) => raw = bytes,
            // The content encoding: none.
            (3, Wire::Bytes(bytes)) if !bytes.is_empty() => return Err(broken()),
            _ => {}
        }
    }
    object(raw, message).map(Value::Object)
}

fn object(bytes: &[u8], message: &Message) -> Result<Map<String, Value>, Failure> {
    let mut map = Map::new();
    let mut reader = Reader(bytes);
    while let Some((number, value)) = reader.field()? {
        let known = message.iter().find(|(known, _, _)| *known == number);
        let Some((_, name, form)) = known else {
            let text =
                format!("field {number} is not read from protobuf: send JSON, or use a manifest");
            return Err(Failure::unsupported_media(text));
        };
        match (form, value) {
            // Go writes a text that is not set as an empty one.
            (Form::Skip, _) | (Form::Text, Wire::Bytes([])) => {}
            (Form::Text, Wire::Bytes(bytes)) => {
                drop(map.insert((*name).to_owned(), text(bytes)?.into()));
            }
            (Form::Flag, Wire::Number(flag)) => {
                drop(map.insert((*name).to_owned(), (flag != 0).into()));
            }
            (Form::Object(inner), Wire::Bytes(bytes)) => {
                map.insert((*name).to_owned(), Value::Object(object(bytes, inner)?));
            }
            (Form::TextMap, Wire::Bytes(bytes)) => {
                let (key, value) = pair(bytes)?;
                let inner = map
                    .entry(*name)
                    .or_insert_with(|| Value::Object(Map::new()));
                inner[key] = value.into();
            }
            _ => return Err(broken()),
        }
    }
    Ok(map)
}

/// One entry of a map: key and value are fields 1 and 2.
fn pair(bytes: &[u8]) -> Result<(String, String), Failure> {
    let (mut key, mut value) = (String::new(), String::new());
    let mut reader = Reader(bytes);
    while let Some((number, field)) = reader.field()? {
        match (number, field) {
            (1, Wire::Bytes(bytes)) => key = text(bytes)?,
            (2, Wire::Bytes(bytes)) => value = text(bytes)?,
            _ => return Err(broken()),
        }
    }
    Ok((key, value))
}

fn text(bytes: &[u8]) -> Result<String, Failure> {
    String::from_utf8(bytes.to_vec()).map_err(|_| broken())
}

fn broken() -> Failure {
    Failure::bad_request("the body is not protobuf as Kubernetes writes it")
}

/// What is left of a message.
struct Reader<'b>(&'b [u8]);

enum Wire<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

impl<'b> Reader<'b> {
    /// The next field; `None` at the end.
    fn field(&mut self) -> Result<Option<(u64, Wire<'b>)>, Failure> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| broken())?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or_else(broken)?;
                self.0 = rest;
                Wire::Bytes(bytes)
            }
            _ => return Err(broken()),
        };
        Ok(Some((tag >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, Failure> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or_else(broken)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(broken())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry;

    /// What `kubectl create configmap c --from-literal=a=b -n shop` sends, in essence.
    const BODY: &[u8] = b"k8s\0\
        \x0a\x0f\x0a\x02v1\x12\x09ConfigMap\
        \x12\x17\x0a\x0d\x0a\x01c\x12\x00\x1a\x04shop\x38\x00\x12\x06\x0a\x01a\x12\x01b\
        \x1a\x00\x22\x00";

    fn decoded(body: &[u8]) -> Result<Value, u16> {
        decode(body, registry::find("", "v1", "configmaps").unwrap())
            .map_err(|failure| failure.code)
    }

    #[test]
    fn a_config_map() {
        let expected =
            json!({ "metadata": { "name": "c", "namespace": "shop" }, "data": { "a": "b" } });
        assert_eq!(decoded(BODY), Ok(expected));
    }

    #[test]
    fn cut_and_unknown_bytes_are_refused() {
        for cut in 0..BODY.len() - 4 {
            let _ = decoded(&BODY[..cut]);
        }
        assert_eq!(decoded(b"{}"), Err(400));
        assert_eq!(decoded(b"k8s\0\x12\xff"), Err(400));
        assert_eq!(decoded(b"k8s\0\x12\x02\x4a\x00"), Err(415));
        let pods = registry::find("", "v1", "pods").unwrap();
        assert_eq!(decode(BODY, pods).map_err(|failure| failure.code), Err(415));
    }
}
