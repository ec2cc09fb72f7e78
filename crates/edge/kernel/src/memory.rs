//! The memory of this process in large pages: look-ups that are far apart walk fewer page tables.
#![allow(unsafe_code, reason = "the standard library does not advise on memory")]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes of a page. Where pages are larger, large pages are too, and nothing is done.
const PAGE: usize = 4096;
/// Bytes of a large page.
const LARGE: usize = 2 << 20;
/// A large page may have so many pages more than were in use.
const MORE: usize = 8;
/// Smaller regions are left alone.
const LEAST: usize = 2 * LARGE;
/// `MADV_COLLAPSE` of `asm-generic/mman-common.h`, since Linux 6.1.
const COLLAPSE: libc::c_int = 25;

/// Puts private memory that is in use into large pages, whatever `/sys/kernel/mm/transparent_hugepage`
/// says of new memory. Returns the bytes that are. The kernel copies what is not yet, at some 1 to 6 ms for
/// 2 MiB; who touches it meanwhile waits for that one copy. Memory that is not resident stays so, but for
/// 32 KiB of 2 MiB at most.
///
/// # Errors
/// If `/proc/self/smaps` or `/proc/self/pagemap` cannot be read. A region for which the kernel has no large pages left, or a kernel
/// that cannot do it, is no error: it stays as it was.
pub fn use_large_pages() -> io::Result<usize> {
    // SAFETY: it reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    if usize::try_from(page) != Ok(PAGE) {
        return Ok(0);
    }
    let smaps = std::fs::read_to_string("/proc/self/smaps")?;
    let pagemap = File::open("/proc/self/pagemap")?;
    let mut done = 0;
    for region in filled(&smaps) {
        for start in region.step_by(LARGE) {
            if resident(&pagemap, start)? + MORE < LARGE / PAGE {
                continue;
            }
            // SAFETY: the advice changes no content, whoever uses the memory; a region that has been
            // unmapped since is an error.
            let failed = unsafe { libc::madvise(start as *mut libc::c_void, LARGE, COLLAPSE) } != 0;
            done += if failed { 0 } else { LARGE };
        }
    }
    Ok(done)
}

/// How many pages of a large one are resident (`Documentation/admin-guide/mm/pagemap.rst`: 64 bits a page,
/// the highest for a page that is present).
fn resident(pagemap: &File, start: usize) -> io::Result<usize> {
    let mut entries = [0; LARGE / PAGE * 8];
    let offset = u64::try_from(start / PAGE * 8).unwrap_or(u64::MAX);
    pagemap.read_exact_at(&mut entries, offset)?;
    let (entries, _) = entries.as_chunks::<8>();
    let present = |entry: &&[u8; 8]| u64::from_ne_bytes(**entry) >> 63 == 1;
    Ok(entries.iter().filter(present).count())
}

/// The regions that are private, mostly in use, and worth it, as far as they consist of whole large pages.
fn filled(smaps: &str) -> Vec<Range<usize>> {
    let mut regions = Vec::new();
    let mut region: Option<Range<usize>> = None;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else {
            continue;
        };
        if first == "Rss:" {
            let resident = second.parse::<usize>().unwrap_or(0) * 1024;
            let worth = |all: &Range<usize>| all.len() >= LEAST && resident >= all.len() / 2;
            if let Some(all) = region.take().filter(worth) {
                let whole = all.start.next_multiple_of(LARGE)..all.end / LARGE * LARGE;
                regions.extend((!whole.is_empty()).then_some(whole));
            }
        } else if !first.ends_with(':') {
            let is_private = second.starts_with("rw-p");
            let name = words.nth(3).unwrap_or_default();
            let is_heap = matches!(name, "" | "[heap]") || name.starts_with("[anon:");
            region = addresses(first).filter(|_| is_private && is_heap);
        }
    }
    regions
}

fn addresses(text: &str) -> Option<Range<usize>> {
    let (start, end) = text.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d000000000-55d000900000 r-xp 00000000 00:00 0                          /usr/bin/ocicat
Size:               9216 kB
Rss:                9216 kB
55d001100000-55d002100000 rw-p 00000000 00:00 0                          [heap]
Size:              16384 kB
Rss:               16000 kB
THPeligible:           1
7f0000000000-7f0000800000 rw-p 00000000 00:00 0
Rss:                  64 kB
7f1000000000-7f1000200000 rw-p 00000000 00:00 0
Rss:                2048 kB
7fff00000000-7fff01000000 rw-p 00000000 00:00 0                          [stack]
Rss:               16384 kB
7f2000000000-7f2000800000 rw-s 00000000 00:01 77                         /memfd:x
Rss:                8192 kB
VmFlags: rd wr
";

    #[test]
    fn private_memory_that_is_used_is_gathered() {
        let heap = 0x55d0_0120_0000..0x55d0_0200_0000;
        assert_eq!(filled(SMAPS), [heap]);
        assert_eq!(filled("garbage\n\n1-z rw-p 0 0 0\nRss: x kB\n"), []);
    }

    #[test]
    fn memory_keeps_what_it_holds() {
        let mut large: Vec<u64> = (0..4 << 20).collect();
        let done = use_large_pages().unwrap();
        // Of 32 MiB, all but the ends; nothing where the kernel cannot.
        assert!(done == 0 || done >= 24 << 20, "{done}");
        assert!(
            (0..)
                .zip(&large)
                .all(|(expected, found)| expected == *found)
        );
        large[7] = 8;
        assert_eq!(large[7], 8);
    }
}
