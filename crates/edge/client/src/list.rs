//! Collections, page by page, without decoding their items.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Error;
use crate::request::{Call, Client};
use crate::resource::{Resource, encode};

/// Which objects of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// `None`: all namespaces.
    pub namespace: Option<String>,
    /// Kubernetes' label selector syntax: `app=web,tier in (a,b)`.
    pub labels: Option<String>,
    /// Kubernetes' field selector syntax: `spec.nodeName=host-1`.
    pub fields: Option<String>,
}

/// A collection as it was at one moment.
#[derive(Debug, Clone)]
pub struct List {
    /// Where a watch goes on from.
    pub resource_version: String,
    /// Each the JSON of one object, `apiVersion` and `kind` included.
    pub items: Vec<Bytes>,
}

/// How many objects a page asks for.
const PAGE: u32 = 500;

impl Selection {
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn in_namespace(namespace: impl Into<String>) -> Self {
        Self {
            namespace: Some(namespace.into()),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn with_labels(mut self, labels: impl Into<String>) -> Self {
        self.labels = Some(labels.into());
        self
    }

    #[must_use]
    pub fn with_fields(mut self, fields: impl Into<String>) -> Self {
        self.fields = Some(fields.into());
        self
    }

    /// Path and query, open for more parameters: ends in `?` or after a parameter.
    pub(crate) fn path(&self, resource: &Resource) -> String {
        let mut path = resource.collection(self.namespace.as_deref());
        path.push('?');
        for (name, value) in [
            ("labelSelector", &self.labels),
            ("fieldSelector", &self.fields),
        ] {
            if let Some(value) = value {
                // Writing to a String cannot fail.
                let _ = write!(path, "{name}={}&", encode(value));
            }
        }
        path
    }
}

impl Client {
    /// Reads a whole collection, in pages where the server makes pages.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the server does not serve the kind, or any that concerns the
    /// connection.
    pub async fn list(
        &self,
        resource: impl Into<Resource>,
        selection: &Selection,
    ) -> Result<List, Error> {
        let resource = resource.into();
        match self.list_in_pages(&resource, selection, Some(PAGE)).await {
            // A page that came too late; without pages nothing can come too late.
            Err(Error::Expired { .. }) => self.list_in_pages(&resource, selection, None).await,
            answer => answer,
        }
    }

    async fn list_in_pages(
        &self,
        resource: &Resource,
        selection: &Selection,
        limit: Option<u32>,
    ) -> Result<List, Error> {
        let mut items = Vec::new();
        let mut token = None;
        loop {
            let page = self
                .page(resource, selection, limit, token.as_deref())
                .await?;
            items.extend(page.items);
            token = page.next;
            if token.is_none() {
                return Ok(List {
                    resource_version: page.resource_version,
                    items,
                });
            }
        }
    }

    pub(crate) async fn page(
        &self,
        resource: &Resource,
        selection: &Selection,
        limit: Option<u32>,
        token: Option<&str>,
    ) -> Result<Page, Error> {
        let mut path = selection.path(resource);
        if let Some(limit) = limit {
            let _ = write!(path, "limit={limit}&");
        }
        if let Some(token) = token {
            let _ = write!(path, "continue={}&", encode(token));
        }
        path.pop();
        let call = Call::new(Method::GET, path, resource.plural);
        let body = self.send(&call).await?;
        Page::read(resource, &body).map_err(|error| call.protocol(&error.to_string()))
    }
}

/// One page of a collection.
pub(crate) struct Page {
    pub resource_version: String,
    pub items: Vec<Bytes>,
    pub next: Option<String>,
}

/// The first request of a watch asks for pages as [`Client::list`] does.
pub(crate) const FIRST_LIMIT: Option<u32> = Some(PAGE);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireList<'a> {
    #[serde(borrow)]
    metadata: WireMeta<'a>,
    /// `null` for an empty list of some servers.
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMeta<'a> {
    #[serde(borrow, default)]
    resource_version: Cow<'a, str>,
    #[serde(borrow, default)]
    r#continue: Option<Cow<'a, str>>,
}

impl Page {
    fn read(resource: &Resource, body: &Bytes) -> Result<Self, serde_json::Error> {
        let list: WireList = serde_json::from_slice(body)?;
        let items = list.items.unwrap_or_default().into_iter();
        Ok(Self {
            resource_version: list.metadata.resource_version.into_owned(),
            next: list
                .metadata
                .r#continue
                .filter(|x| !x.is_empty())
                .map(Cow::into_owned),
            items: items.map(|item| with_kind(resource, body, item)).collect(),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireKind<'a> {
    #[serde(borrow, default)]
    api_version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
}

/// Items of lists of built-in kinds come without `apiVersion` and `kind`.
fn with_kind(resource: &Resource, body: &Bytes, item: &RawValue) -> Bytes {
    let text = item.get();
    let own = |text: &str| body.slice_ref(text.as_bytes());
    if text.starts_with(r#"{"apiVersion":"#) || text.starts_with(r#"{"kind":"#) {
        return own(text);
    }
    let complete = match serde_json::from_str::<WireKind>(text) {
        Ok(x) => x.api_version.is_some() || x.kind.is_some(),
        // Not an object: the reader of the item will say so.
        Err(_) => true,
    };
    let Some(rest) = text.strip_prefix('{').filter(|_| !complete) else {
        return own(text);
    };
    let comma = if rest.trim_start().starts_with('}') {
        ""
    } else {
        ","
    };
    let (version, kind) = (resource.api_version(), resource.kind);
    let head = format!(r#"{{"apiVersion":"{version}","kind":"{kind}"{comma}"#);
    let mut out = BytesMut::with_capacity(head.len() + rest.len());
    out.put_slice(head.as_bytes());
    out.put_slice(rest.as_bytes());
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ocicat_api::Kind;

    fn read(text: &'static str) -> Page {
        Page::read(&Kind::Pod.into(), &Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn items_without_kind_get_it() {
        let page = read(
            r#"{"kind":"PodList","metadata":{"resourceVersion":"7","continue":"x"},
                "items":[{"metadata":{"name":"a"}},{},{"kind":"Pod","apiVersion":"v1"}]}"#,
        );
        assert_eq!(
            (page.resource_version.as_str(), page.next.as_deref()),
            ("7", Some("x"))
        );
        let items: Vec<_> = page
            .items
            .iter()
            .map(|x| std::str::from_utf8(x).unwrap())
            .collect();
        assert_eq!(
            items,
            [
                r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"}}"#,
                r#"{"apiVersion":"v1","kind":"Pod"}"#,
                r#"{"kind":"Pod","apiVersion":"v1"}"#,
            ]
        );
    }

    #[test]
    fn a_null_list_is_empty() {
        let page = read(r#"{"metadata":{"resourceVersion":"7","continue":""},"items":null}"#);
        assert!(page.items.is_empty() && page.next.is_none());
    }

    #[test]
    fn selectors_are_encoded() {
        let selection = Selection::in_namespace("shop").with_labels("app in (a,b)");
        let path = selection.path(&Kind::Pod.into());
        assert_eq!(
            path,
            "/api/v1/namespaces/shop/pods?labelSelector=app%20in%20%28a%2Cb%29&"
        );
    }
}
