//! Where the server listens, and where it refuses to.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::Error;

/// A place to listen. The server does not know who its clients are, so only places that the machine
/// itself protects are accepted. (TLS with client certificates will be a further variant.)
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listen {
    /// A TCP address of the loopback; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A unix socket, readable and writable by its owner only. Network namespaces do not separate
    /// unix sockets, so one path serves all hosts of a lab. A socket that nobody serves any more is
    /// replaced.
    Unix(PathBuf),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// An open listener and where it really listens.
pub(crate) enum Bound {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

/// Starts to listen.
pub(crate) async fn bind(listen: &Listen) -> Result<Bound, Error> {
    let failed = |source| Error::Bind {
        place: listen.to_string(),
        source,
    };
    match listen {
        Listen::Tcp(address) if !address.ip().is_loopback() => Err(Error::Exposed(*address)),
        Listen::Tcp(address) => {
            let listener = TcpListener::bind(address).await.map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            Ok(Bound::Tcp(listener, address))
        }
        Listen::Unix(path) => {
            remove_dead(path).await.map_err(failed)?;
            let listener = UnixListener::bind(path).map_err(failed)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
                .map_err(failed)?;
            Ok(Bound::Unix(listener, path.clone()))
        }
    }
}

/// Removes a socket that an earlier process left behind, and nothing else.
async fn remove_dead(path: &Path) -> std::io::Result<()> {
    let is_socket =
        std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}
