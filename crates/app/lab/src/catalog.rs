//! What the lab's API server holds.

use anyhow::Context;
use ocicat_api::{Kind, Object, decode};
use ocicat_client::{Client, Endpoint, Selection};

use crate::state::Folder;

/// A client of the lab's API server.
///
/// # Errors
/// If the client cannot be made; the server is first asked by the first request.
pub async fn connect(folder: &Folder) -> anyhow::Result<Client> {
    let endpoint = Endpoint::Unix(folder.api_socket());
    Client::connect(&endpoint)
        .await
        .context("the lab's API server")
}

/// Every object of the API, as policy reads it. Where parts of one cannot be understood, it is what the
/// agents make of it.
///
/// # Errors
/// If the API server does not answer.
pub async fn objects(client: &Client) -> anyhow::Result<Vec<Object>> {
    let mut objects = Vec::new();
    for info in Kind::table() {
        let list = client.list(info.kind, &Selection::all()).await?;
        for item in list.items {
            objects.extend(decode::decode_json(&item).object);
        }
    }
    Ok(objects)
}
