//! The system calls that neither the standard library nor `netlink-sys` offers, each wrapped safely.
#![allow(
    unsafe_code,
    reason = "setns, mount, membarrier and socket options exist only as C calls"
)]

use std::ffi::{CStr, CString, c_int, c_ulong, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

/// `NS_GET_NSTYPE` of `linux/nsfs.h`: `_IO(0xb7, 3)`.
const NS_GET_NSTYPE: c_ulong = 0xb703;
/// Commands of `linux/membarrier.h`.
const MEMBARRIER_CMD_GLOBAL: c_int = 1;

/// Moves the calling thread into a new network namespace.
pub(crate) fn unshare_net() -> io::Result<()> {
    // SAFETY: unshare takes no pointers and changes only the calling thread's namespace.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })
}

/// Moves the calling thread into an existing network namespace.
pub(crate) fn enter_net(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: setns takes no pointers; the descriptor is borrowed, hence open.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) })
}

/// Whether the descriptor is a network namespace.
pub(crate) fn is_network_namespace(file: BorrowedFd<'_>) -> bool {
    // SAFETY: NS_GET_NSTYPE has no argument; on a file of another kind it fails with ENOTTY.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) };
    kind == libc::CLONE_NEWNET
}

/// Binds `source` to `target`, both existing.
pub(crate) fn bind_mount(source: &Path, target: &Path) -> io::Result<()> {
    mount(source, target, libc::MS_BIND | libc::MS_REC)
}

/// Makes the mount at `target` propagate to its peers. `EINVAL` if it is not a mount point.
pub(crate) fn share_mount(target: &Path) -> io::Result<()> {
    mount(Path::new("none"), target, libc::MS_SHARED | libc::MS_REC)
}

/// Detaches the mount at `target`. `EINVAL` if it is not a mount point.
pub(crate) fn detach_mount(target: &Path) -> io::Result<()> {
    let target = path_to_c(target)?;
    // SAFETY: the string is NUL-terminated and outlives the call.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH | libc::UMOUNT_NOFOLLOW) })
}

/// Waits for an RCU grace period by `membarrier(2)`.
pub(crate) fn membarrier_global() -> io::Result<()> {
    // SAFETY: membarrier takes integers only.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The number of processors that are online.
pub(crate) fn processors_online() -> Option<usize> {
    // SAFETY: sysconf takes an integer only.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).ok().filter(|count| *count > 0)
}

/// Borrows the descriptor of an object that implements only the older `AsRawFd`.
pub(crate) fn borrow<T: AsRawFd>(owner: &T) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to `owner`, which stays open for the lifetime of the borrow.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// Sets the receive buffer past the system's limit where the caller may, else up to it.
pub(crate) fn set_receive_buffer(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    set_option(socket, libc::SO_RCVBUFFORCE, &bytes)
        .or_else(|_| set_option(socket, libc::SO_RCVBUF, &bytes))
}

/// Bounds how long a blocking receive waits.
pub(crate) fn set_receive_timeout(socket: BorrowedFd<'_>, timeout: Duration) -> io::Result<()> {
    let value = libc::timeval {
        tv_sec: timeout.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_usec: timeout.subsec_micros().into(),
    };
    set_option(socket, libc::SO_RCVTIMEO, &value)
}

/// Keeps frames that the namespace itself sends from a packet socket.
pub(crate) fn ignore_outgoing_frames(socket: BorrowedFd<'_>) -> io::Result<()> {
    let yes: c_int = 1;
    set_option_of(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &yes)
}

/// Frames that a packet socket lost since it was last asked.
pub(crate) fn lost_frames(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: zero is a value of both fields.
    let mut counts: libc::tpacket_stats = unsafe { std::mem::zeroed() };
    let mut length =
        libc::socklen_t::try_from(size_of_val(&counts)).expect("socket options are small");
    // SAFETY: the pointers are to `length` writable bytes and to that length; both outlive the call.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            ptr::from_mut(&mut counts).cast::<c_void>(),
            &raw mut length,
        )
    })?;
    Ok(counts.tp_drops)
}

fn set_option<T>(socket: BorrowedFd<'_>, option: c_int, value: &T) -> io::Result<()> {
    set_option_of(socket, libc::SOL_SOCKET, option, value)
}

fn set_option_of<T>(
    socket: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: &T,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("socket options are small");
    let value = ptr::from_ref(value).cast::<c_void>();
    // SAFETY: value points to `length` initialised bytes that outlive the call; the descriptor is open.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) })
}

fn mount(source: &Path, target: &Path, flags: c_ulong) -> io::Result<()> {
    const NONE: &CStr = c"none";
    let source = path_to_c(source)?;
    let target = path_to_c(target)?;
    // SAFETY: the three strings are NUL-terminated and outlive the call; no data is passed.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            NONE.as_ptr(),
            flags,
            ptr::null(),
        )
    })
}

fn path_to_c(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "path holds a zero byte"))
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
