//! Get and list.

use axum::body::Body;
use ocicat_store::{Entry, Range};

use super::{Api, Call, Reply};
use crate::failure::Failure;
use crate::object::{self, Object};
use crate::params::View;
use crate::render;
use crate::selector::Filter;

/// Entries read in one step while a selector leaves most of them out.
const STEP: usize = 1_000;

/// What a list request reads.
pub(super) struct Listing {
    /// The matching entries, in order of their keys.
    pub(super) entries: Vec<Entry>,
    /// The revision that was read.
    pub(super) revision: u64,
    /// Where the next page goes on; empty at the end.
    pub(super) next: String,
}

impl Api {
    /// The object that a call names.
    pub(super) async fn entry(&self, call: &Call) -> Result<Entry, Failure> {
        let found = self.store.get(&call.target.key()).await?;
        found.ok_or_else(|| Failure::not_found(call.target.resource, &call.target.name))
    }

    pub(super) async fn get(&self, call: &Call) -> Result<Reply, Failure> {
        let entry = self.entry(call).await?;
        if call.accept.view == View::Object {
            return Ok(Reply::new(
                200,
                Body::from(object::with_revision(&entry.value, entry.modified)),
            ));
        }
        let object = Object::decode(&entry.value, entry.modified)?;
        Ok(Reply::json(
            200,
            &render::one(
                call.accept.view,
                call.params.include,
                call.target.resource,
                object,
            ),
        ))
    }

    pub(super) async fn list(&self, call: &Call) -> Result<Reply, Failure> {
        let listing = self.listing(call).await?;
        let resource = call.target.resource;
        if call.accept.view != View::Object {
            let objects = listing
                .entries
                .iter()
                .map(|entry| Object::decode(&entry.value, entry.modified));
            let objects = objects.collect::<Result<Vec<_>, _>>()?;
            let metadata = render::list_metadata(listing.revision, &listing.next);
            let list = render::list(
                call.accept.view,
                call.params.include,
                resource,
                objects,
                &metadata,
            );
            return Ok(Reply::json(200, &list));
        }
        let head = serde_json::json!({
            "apiVersion": resource.api_version(),
            "kind": format!("{}List", resource.kind),
            "metadata": render::list_metadata(listing.revision, &listing.next),
        });
        let mut bytes = head.to_string().into_bytes();
        bytes.pop();
        bytes.extend_from_slice(b",\"items\":[");
        for (at, entry) in listing.entries.iter().enumerate() {
            if at > 0 {
                bytes.push(b',');
            }
            bytes.extend_from_slice(&object::with_revision(&entry.value, entry.modified));
        }
        bytes.extend_from_slice(b"]}");
        Ok(Reply::new(200, Body::from(bytes)))
    }

    /// Reads what a list request asks for, at one revision.
    pub(super) async fn listing(&self, call: &Call) -> Result<Listing, Failure> {
        let (target, params) = (&call.target, &call.params);
        let filter = Filter::parse(
            &params.label_selector,
            &params.field_selector,
            target.resource,
        )?;
        let prefix = target.key();
        let mut range = Range {
            prefix: prefix.clone(),
            ..Range::default()
        };
        if params.exact_version {
            range.at = params.resource_version.parse().ok();
        }
        if !params.continue_token.is_empty() {
            let (revision, after) = params
                .continue_token
                .split_once(':')
                .ok_or_else(bad_token)?;
            range.at = Some(revision.parse().map_err(|_| bad_token())?);
            range.after = Some(format!("{prefix}{after}"));
        }
        if let Some(name) = filter.only_name().filter(|_| target.key_is_exact()) {
            range.prefix.push_str(name);
        }
        let mut entries = Vec::new();
        let limit = params.limit.unwrap_or(usize::MAX);
        loop {
            let room = limit - entries.len();
            range.limit =
                (params.limit.is_some()).then_some(if filter.is_empty() { room } else { STEP });
            let page = self.store.range(range.clone()).await?;
            (range.at, range.after) = (
                Some(page.revision),
                page.entries.last().map(|entry| entry.key.to_string()),
            );
            let mut more = page.more;
            for entry in page.entries {
                if !filter.is_empty()
                    && !filter.shows(&Object::decode(&entry.value, entry.modified)?)
                {
                    continue;
                }
                if entries.len() == limit {
                    more = true;
                    break;
                }
                entries.push(entry);
            }
            if more && entries.len() < limit {
                continue;
            }
            let end = entries.last().filter(|_| more);
            let next = end.map(|entry| format!("{}:{}", page.revision, &entry.key[prefix.len()..]));
            return Ok(Listing {
                entries,
                revision: page.revision,
                next: next.unwrap_or_default(),
            });
        }
    }
}

impl crate::route::Target {
    /// Whether the key of an object is this target's key and the object's name.
    fn key_is_exact(&self) -> bool {
        !self.resource.namespaced || !self.namespace.is_empty()
    }
}

fn bad_token() -> Failure {
    Failure::bad_request("continue key is not valid: the list must be started again")
}
