//! Where the API server is, and whether it answers.

use std::net::SocketAddr;
use std::time::Duration;

use ocicat_client::{Client, Retry};
use tokio::sync::mpsc;

use crate::core::Message;

/// How often the server is asked, and how long it may take.
const ASK_EVERY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(3);
/// Its name is looked up this often.
const LOOK_UP_EVERY: Duration = Duration::from_secs(30);
const LOOK_UP_PATIENCE: Duration = Duration::from_secs(2);

/// The addresses and port of a server at `http://…` or `https://…`; none for a unix socket, or a name
/// that is not known now.
pub async fn addresses(endpoint: &str) -> Vec<SocketAddr> {
    let Ok(uri) = endpoint.parse::<http::Uri>() else {
        return Vec::new();
    };
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Vec::new();
    };
    let port = match (uri.port_u16(), scheme) {
        (Some(port), _) => port,
        (None, "https") => 443,
        (None, "http") => 80,
        _ => return Vec::new(),
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let found = tokio::net::lookup_host((host, port));
    match tokio::time::timeout(LOOK_UP_PATIENCE, found).await {
        Ok(Ok(found)) => {
            let mut found: Vec<SocketAddr> = found.collect();
            found.sort();
            found.dedup();
            found
        }
        _ => Vec::new(),
    }
}

/// Tells the core whether the API server answers, and where it is, until the core is gone. What is
/// reached over a unix socket no policy cuts off.
pub async fn follow(client: Client, core: mpsc::Sender<Message>) {
    let endpoint = client.endpoint().to_owned();
    if endpoint.starts_with("unix:") {
        return;
    }
    let client = client.with_retry(Retry::NONE);
    let mut looked_up = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        let answer = tokio::time::timeout(PATIENCE, client.ready()).await;
        // A refusal is an answer too.
        let answers = matches!(&answer, Ok(Ok(())))
            || matches!(&answer, Ok(Err(error)) if !error.is_unreachable());
        if core.send(Message::Reach(answers)).await.is_err() {
            return;
        }
        if looked_up.elapsed() >= LOOK_UP_EVERY {
            looked_up = tokio::time::Instant::now();
            let found = addresses(&endpoint).await;
            // A name that cannot be looked up now has the addresses it had.
            if !found.is_empty() && core.send(Message::ApiServer(found)).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_follow_from_the_endpoint() {
        let of = async |endpoint: &str| addresses(endpoint).await;
        let one: SocketAddr = "192.0.2.1:6443".parse().unwrap();
        assert_eq!(of("https://192.0.2.1:6443").await, [one]);
        let six: SocketAddr = "[2001:db8::1]:443".parse().unwrap();
        assert_eq!(of("https://[2001:db8::1]").await, [six]);
        assert!(of("unix:/run/api.sock").await.is_empty());
    }
}
