//! Names and Ethernet addresses that follow from a container's id.

use crate::mac::Mac;

/// The prefix of the host-side interface of every workload.
pub const INTERFACE_PREFIX: &str = "ocw";
/// Characters after the prefix.
const DIGITS: usize = 11;
/// RFC 4648, lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The name of the host-side interface for the interface `ifname` of container `container_id`: `ocw` and
/// eleven characters of base 32, 14 in all, always the same for the same arguments. 55 bits tell them
/// apart: among 1,000 interfaces of a host two meet with a probability of about 10⁻¹¹.
#[must_use]
pub fn interface_name(container_id: &str, ifname: &str) -> String {
    let mut number = hash(b"interface", container_id, ifname);
    let mut name = INTERFACE_PREFIX.to_owned();
    for _ in 0..DIGITS {
        name.push(char::from(BASE32[(number & 31) as usize]));
        number >>= 5;
    }
    name
}

/// An Ethernet address for the interface `ifname` of container `container_id`: locally administered,
/// unicast, always the same for the same arguments, so that a repeated ADD keeps it.
#[must_use]
pub fn workload_mac(container_id: &str, ifname: &str) -> Mac {
    let bytes = hash(b"address", container_id, ifname).to_be_bytes();
    let mut mac = [0; 6];
    mac.copy_from_slice(&bytes[..6]);
    mac[0] = (mac[0] & 0xfc) | 0x02;
    Mac(mac)
}

/// FNV-1a over the three parts with zero bytes between them, then the finaliser of `MurmurHash3`, so
/// that every bit depends on every byte. Written out because names must never change with a library.
fn hash(purpose: &[u8], container_id: &str, ifname: &str) -> u64 {
    let parts = [purpose, container_id.as_bytes(), ifname.as_bytes()];
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in parts.join(&0) {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    state = (state ^ (state >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    state = (state ^ (state >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    state ^ (state >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_stable_and_well_formed() {
        let name = interface_name("0123456789abcdef", "eth0");
        assert_eq!(name, interface_name("0123456789abcdef", "eth0"));
        assert_eq!(name.len(), 14);
        let (prefix, rest) = name.split_at(3);
        assert_eq!(prefix, INTERFACE_PREFIX);
        assert!(rest.bytes().all(|byte| BASE32.contains(&byte)));
    }

    /// A changed hash would orphan the interfaces of running workloads: this value must stay.
    #[test]
    fn names_survive_releases() {
        assert_eq!(interface_name("a", "eth0"), "ocwgwm6ddc2b6k");
        assert_eq!(workload_mac("a", "eth0").to_string(), "4e:6b:95:6f:88:75");
    }

    #[test]
    fn neighbours_in_spelling_differ() {
        let mut names = BTreeSet::new();
        let mut macs = BTreeSet::new();
        for id in 0..10_000 {
            names.insert(interface_name(&format!("pod-{id}"), "eth0"));
            macs.insert(workload_mac(&format!("pod-{id}"), "eth0"));
        }
        assert_eq!((names.len(), macs.len()), (10_000, 10_000));
        assert_ne!(interface_name("ab", "c"), interface_name("a", "bc"));
        assert!(macs.iter().all(|mac| mac.0[0] & 3 == 2));
    }
}
