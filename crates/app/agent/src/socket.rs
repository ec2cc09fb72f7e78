//! The agent's socket: one JSON line in, one JSON line out, for the CNI plugin and the tools.
//!
//! At most [`CONNECTIONS`] are served at once; more wait. A request is at most [`LONGEST`] bytes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::workload::{CniRequest, Failure, Workloads};

const CONNECTIONS: usize = 64;
const LONGEST: u64 = 1 << 20;
const READ_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Request {
    Cni(CniRequest),
    Status,
    /// Whether the kernel's program decides what the tables say.
    Verify,
    /// Which of these addresses have no known owner in the kernel of this host.
    Unknown {
        addresses: Vec<std::net::IpAddr>,
    },
}

/// Listens. A socket that a killed agent left behind is replaced.
///
/// # Errors
/// If the directory or the socket cannot be made.
pub fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| path.display().to_string());
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| path.display().to_string())?;
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until the task is dropped.
pub async fn serve(listener: UnixListener, workloads: Arc<Workloads>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let workloads = Arc::clone(&workloads);
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &workloads).await {
                        // Mostly callers that hung up.
                        tracing::debug!(%error, "agent socket");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "agent socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, workloads: &Workloads) -> anyhow::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(reader.take(LONGEST));
    tokio::time::timeout(READ_LIMIT, reader.read_line(&mut line)).await??;
    let result = match serde_json::from_str(&line) {
        Ok(request) => run(request, workloads).await,
        Err(error) => Err(Failure::bad_request(&error.to_string())),
    };
    let answer = match result {
        Ok(result) => json!({ "ok": true, "result": result }),
        Err(failure) => json!({ "ok": false, "error": failure }),
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    writer.write_all(&bytes).await?;
    Ok(writer.shutdown().await?)
}

async fn run(request: Request, workloads: &Workloads) -> Result<Value, Failure> {
    match request {
        Request::Cni(request) => workloads.cni(request).await,
        Request::Status => workloads.status().await,
        Request::Verify => workloads.verify().await,
        Request::Unknown { addresses } => workloads.unknown(addresses).await,
    }
}
