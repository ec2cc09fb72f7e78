//! Kernel settings under `/proc/sys`.
//!
//! What lies under `/proc/sys/net` belongs to the network namespace of the *thread that opens it*; the
//! functions ending in `_in` open it inside a given namespace. Names are paths below `/proc/sys`, with
//! slashes, because interface names may hold dots: `net/ipv4/conf/eth0.5/rp_filter`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::netns::Namespace;
use crate::{Error, Result};

/// An address family that has settings for each interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `net/ipv4`.
    V4,
    /// `net/ipv6`.
    V6,
}

/// The name of a setting of one interface, such as `net/ipv4/conf/eth0/rp_filter`.
#[must_use]
pub fn of_interface(family: Family, interface: &str, key: &str) -> String {
    let family = match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    format!("net/{family}/conf/{interface}/{key}")
}

/// Writes a setting in the namespace of the calling thread.
///
/// # Errors
/// `Io` if the setting does not exist, is read-only or refuses the value; `Invalid` for a name that
/// leaves `/proc/sys`.
pub fn write(name: &str, value: &str) -> Result<()> {
    let path = locate(name)?;
    let wrap = |error| Error::io(format!("sysctl {name}"), error);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(wrap)?;
    file.write_all(value.as_bytes()).map_err(wrap)
}

/// Reads a setting in the namespace of the calling thread, without the newline at its end.
///
/// # Errors
/// `Io` if the setting does not exist; `Invalid` for a name that leaves `/proc/sys`.
pub fn read(name: &str) -> Result<String> {
    let text = fs::read_to_string(locate(name)?)
        .map_err(|error| Error::io(format!("sysctl {name}"), error))?;
    Ok(text.trim_end().to_owned())
}

/// [`write`](fn@write) inside `namespace`.
///
/// # Errors
/// As for [`write`](fn@write), and `Io` if the namespace cannot be entered.
pub fn write_in(namespace: &Namespace, name: &str, value: &str) -> Result<()> {
    namespace.run(|| write(name, value))?
}

/// [`read`] inside `namespace`.
///
/// # Errors
/// As for [`read`], and `Io` if the namespace cannot be entered.
pub fn read_in(namespace: &Namespace, name: &str) -> Result<String> {
    namespace.run(|| read(name))?
}

/// Writes several settings in the namespace of the calling thread; stops at the first failure.
///
/// # Errors
/// As for [`write`](fn@write).
pub fn write_all<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<()> {
    settings
        .into_iter()
        .try_for_each(|(name, value)| write(name, value))
}

/// Lets the namespace of the calling thread forward both families. Switch it on only when the table
/// that judges forwarded packets is in the kernel: from here on the host routes whatever arrives.
/// A kernel without IPv6 is left as it is.
///
/// # Errors
/// As for [`write`](fn@write).
pub fn enable_forwarding() -> Result<()> {
    write("net/ipv4/ip_forward", "1")?;
    if Path::new("/proc/sys/net/ipv6").exists() {
        write("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// [`enable_forwarding`] inside `namespace`.
///
/// # Errors
/// As for [`enable_forwarding`], and `Io` if the namespace cannot be entered.
pub fn enable_forwarding_in(namespace: &Namespace) -> Result<()> {
    namespace.run(enable_forwarding)?
}

/// Interface names come from outside: `..` in one must not lead to another file.
fn locate(name: &str) -> Result<PathBuf> {
    let sound = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !name.split('/').all(sound) {
        return Err(Error::invalid(
            format!("sysctl {name:?}"),
            "a name is a path below /proc/sys, such as net/ipv4/ip_forward",
        ));
    }
    Ok(Path::new("/proc/sys").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_proc_sys() {
        for name in ["", "/etc/passwd", "net/../../etc/passwd", "net//ipv4", "."] {
            assert!(
                matches!(locate(name), Err(Error::Invalid { .. })),
                "{name:?}"
            );
        }
        let path = locate(&of_interface(Family::V4, "eth0.5", "rp_filter")).unwrap();
        assert_eq!(path, Path::new("/proc/sys/net/ipv4/conf/eth0.5/rp_filter"));
    }
}
