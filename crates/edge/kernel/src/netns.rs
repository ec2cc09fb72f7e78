//! Network namespaces: create, open, enter, list, delete.
//!
//! A namespace lives as long as a process, a descriptor or a bind mount holds it. Named ones are bind
//! mounts in [`DIRECTORY`], as `ip netns` makes them, so `ip netns exec NAME` works on them and
//! namespaces made by `ip netns` can be opened here.

mod scratch;

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use scratch::ScratchNamespace;

use crate::sys;
use crate::{Error, Result};

/// Where named namespaces live, shared with `ip netns`.
pub const DIRECTORY: &str = "/run/netns";

/// The namespace of the calling thread, as the kernel shows it.
const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace. Clones share one descriptor; the namespace lives at least as long.
#[derive(Debug, Clone)]
pub struct Namespace {
    file: Arc<File>,
    path: Option<PathBuf>,
}

/// What two handles of one namespace have in common: device and inode of its nsfs file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Namespace {
    /// Creates a namespace called `name` in [`DIRECTORY`], which is made, and made a shared mount as
    /// `ip netns` does, so that a later delete reaches every mount namespace. Loopback is down, as the
    /// kernel makes it.
    ///
    /// # Errors
    /// [`Error::is_exists`] if there is a file of that name already; [`Error::is_permission`] without
    /// `CAP_SYS_ADMIN`; `Invalid` if the name is empty or holds a `/`.
    pub fn create(name: &str) -> Result<Self> {
        let path = named(name)?;
        prepare_directory(Path::new(DIRECTORY))?;
        Self::create_at(&path)
    }

    /// Creates a namespace and binds it to `path`, whose directory must exist. How far the mount is seen
    /// from other mount namespaces is up to that directory.
    ///
    /// # Errors
    /// As for [`Namespace::create`].
    pub fn create_at(path: &Path) -> Result<Self> {
        let object = describe(path);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|error| Error::io(&object, error))?;
        // A thread of its own: the caller's thread never leaves its namespace.
        let bound = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                sys::unshare_net()?;
                sys::bind_mount(Path::new(OWN), path)
            });
            worker.join()
        });
        let made = match bound {
            Ok(result) => result.map_err(|error| Error::io(&object, error)),
            Err(_) => Err(Error::invalid(
                &object,
                "the thread that creates it panicked",
            )),
        };
        match made.and_then(|()| Self::open(path)) {
            Ok(namespace) => Ok(namespace),
            Err(error) => {
                // The first failure is the one to report; the file must not stay behind.
                let _ = delete_at(path);
                Err(error)
            }
        }
    }

    /// Opens the namespace bound to `path`, such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// [`Error::is_not_found`] if the path does not exist; `Invalid` if it is not a network namespace.
    pub fn open(path: &Path) -> Result<Self> {
        let object = describe(path);
        let file = File::open(path).map_err(|error| Error::io(&object, error))?;
        if !sys::is_network_namespace(file.as_fd()) {
            return Err(Error::invalid(object, "not a network namespace"));
        }
        Ok(Self {
            file: Arc::new(file),
            path: Some(path.to_owned()),
        })
    }

    /// Opens the namespace called `name` in [`DIRECTORY`].
    ///
    /// # Errors
    /// As for [`Namespace::open`].
    pub fn open_named(name: &str) -> Result<Self> {
        Self::open(&named(name)?)
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// `Io` if `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        Ok(Self {
            path: None,
            ..Self::open(Path::new(OWN))?
        })
    }

    /// Runs `work` with the calling thread inside this namespace and returns to the thread's own
    /// namespace, also when `work` panics. Sockets opened and processes started by `work` stay in this
    /// namespace; `/proc/sys/net` opened by it is this namespace's.
    ///
    /// The process aborts if the kernel refuses the way back, for a thread in a namespace it does not
    /// expect would go on to configure the wrong host.
    ///
    /// # Errors
    /// `Io` if the namespace cannot be entered; `work` has not run then.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let home = Self::current()?;
        sys::enter_net(self.as_fd()).map_err(|error| Error::io(self.to_string(), error))?;
        let _way_back = WayBack(home);
        Ok(work())
    }

    /// The path it was opened or created with; `None` for [`Namespace::current`].
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The last part of the path, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.path.as_deref()?.file_name()?.to_str()
    }

    /// Equal for two handles exactly if they are the same namespace.
    ///
    /// # Errors
    /// `Io` if the descriptor cannot be examined.
    pub fn identity(&self) -> Result<Identity> {
        let metadata = self
            .file
            .metadata()
            .map_err(|error| Error::io(self.to_string(), error))?;
        Ok(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

impl std::fmt::Display for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.path {
            Some(path) => f.write_str(&describe(path)),
            None => f.write_str("own network namespace"),
        }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl AsRawFd for Namespace {
    fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// Deletes the namespace called `name` from [`DIRECTORY`]. Deleting what is not there succeeds. The
/// namespace itself goes when its last process and descriptor go.
///
/// # Errors
/// `Io` if the mount or the file cannot be removed; `Invalid` for an impossible name.
pub fn delete(name: &str) -> Result<()> {
    delete_at(&named(name)?)
}

/// Deletes the bind mount and the file at `path`. Deleting what is not there succeeds.
///
/// # Errors
/// `Io` if the mount or the file cannot be removed.
pub fn delete_at(path: &Path) -> Result<()> {
    match sys::detach_mount(path) {
        Ok(()) => {}
        // Not a mount: an interrupted creation left only the file.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        Err(error) => return Err(Error::io(describe(path), error)),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(describe(path), error))
        }
        _ => Ok(()),
    }
}

/// The names in [`DIRECTORY`] that start with `prefix`, sorted. Files without a namespace behind them,
/// left by an interrupted creation, are listed too, so that they can be deleted.
///
/// # Errors
/// `Io` if the directory exists and cannot be read.
pub fn list(prefix: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(DIRECTORY) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io(DIRECTORY, error)),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort_unstable();
    Ok(names)
}

struct WayBack(Namespace);

impl Drop for WayBack {
    fn drop(&mut self) {
        if let Err(error) = sys::enter_net(self.0.as_fd()) {
            eprintln!("cannot return to the thread's own network namespace: {error}");
            std::process::abort();
        }
    }
}

fn named(name: &str) -> Result<PathBuf> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(Error::invalid(
            format!("network namespace {name:?}"),
            "a name is one path component",
        ));
    }
    Ok(Path::new(DIRECTORY).join(name))
}

fn describe(path: &Path) -> String {
    format!("network namespace {}", path.display())
}

/// Makes `directory` a shared mount point once. The lock keeps two processes from stacking two mounts,
/// which would hide the namespaces made between them.
fn prepare_directory(directory: &Path) -> Result<()> {
    let failed = |error| Error::io(directory.display().to_string(), error);
    fs::create_dir_all(directory).map_err(failed)?;
    let lock = File::open(directory).map_err(failed)?;
    lock.lock().map_err(failed)?;
    match sys::share_mount(directory) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            sys::bind_mount(directory, directory).map_err(failed)?;
            sys::share_mount(directory).map_err(failed)
        }
        other => other.map_err(failed),
    }
}
