//! `http` of a Calico rule.

use std::sync::Arc;

use super::meta::shared;
use super::node::{Node, Problems, Read, Unreadable};
use super::rule::Direction;
use crate::Protocol;
use crate::limits::{HTTP_MATCHES, HTTP_PATH_CHARS};
use crate::rule::{Action, HttpMatch, HttpPath};

/// Reads `http`: only in ingress rules that allow TCP. A rule without protocol is one for TCP then.
pub(super) fn http(
    rule: &Node<'_>,
    direction: Direction,
    action: Action,
    protocol: Read<Option<Protocol>>,
    problems: &mut Problems,
) -> Option<HttpMatch> {
    let node = rule.field("http")?;
    let read = matches(node, problems);
    if direction != Direction::Ingress {
        problems.error(&node.path, "expected http only in ingress rules");
        return None;
    }
    if action != Action::Allow {
        let message = "expected http only in a rule with action Allow";
        problems.error(&node.path, message);
        return None;
    }
    if let Ok(Some(other)) = protocol
        && other != Protocol::TCP
    {
        let message = format!("expected protocol TCP in a rule with http, not {other}");
        problems.error(&node.path, message);
        return None;
    }
    read.ok()
}

fn matches(node: Node<'_>, problems: &mut Problems) -> Read<HttpMatch> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["methods", "paths"], problems);
    let methods = node.optional("methods", problems, |list, problems| {
        list.all(HTTP_MATCHES, problems, method)
    });
    let paths = node.optional("paths", problems, |list, problems| {
        list.all(HTTP_MATCHES, problems, path)
    });
    let (methods, paths) = (methods?, paths?);
    if unknown {
        return Err(Unreadable);
    }
    Ok(HttpMatch {
        methods: methods.unwrap_or_default(),
        paths: paths.unwrap_or_default(),
    })
}

/// A method is a token (RFC 9110 section 5.6.2).
fn method(node: Node<'_>, problems: &mut Problems) -> Read<Arc<str>> {
    let text = shared(node, problems)?;
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(inner) {
        Ok(text)
    } else {
        Err(node.expected("a method such as GET", problems))
    }
}

fn path(node: Node<'_>, problems: &mut Problems) -> Read<HttpPath> {
    node.mapping(problems)?;
    let unknown = node.has_unknown(&["exact", "prefix"], problems);
    let exact = node.optional("exact", problems, path_text);
    let prefix = node.optional("prefix", problems, path_text);
    let read = match (exact?, prefix?) {
        (Some(exact), None) => HttpPath::Exact(exact),
        (None, Some(prefix)) => HttpPath::Prefix(prefix),
        (None, None) if unknown => return Err(Unreadable),
        _ => return Err(problems.error(&node.path, "expected one of exact and prefix")),
    };
    if unknown { Err(Unreadable) } else { Ok(read) }
}

fn path_text(node: Node<'_>, problems: &mut Problems) -> Read<Arc<str>> {
    let text = shared(node, problems)?;
    if text.chars().count() > HTTP_PATH_CHARS {
        let expected = format!("at most {HTTP_PATH_CHARS} characters");
        return Err(node.expected(&expected, problems));
    }
    if text.starts_with('/') && !text.contains(['?', '#']) {
        Ok(text)
    } else {
        let expected = "a path that begins with '/', without '?' and '#'";
        Err(node.expected(expected, problems))
    }
}
