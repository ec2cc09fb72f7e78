//! Kernel and oracle agree on random worlds, packet by packet.
//!
//! `OCICAT_SEED` is the seed of the first world, `OCICAT_PACKETS` how many packets are tried. For more,
//! `cargo run --release -p ocicat-proof -- soak`.

use ocicat_proof::{Field, Kind, Plan, Tally, trial};

/// Packets that are tried at least.
const PACKETS: u64 = 90_000;
/// Packets of each kind that are tried at least.
const OF_EACH: u64 = 100;

#[test]
fn the_kernel_says_what_the_oracle_says() {
    let Some(mut field) = field() else {
        return;
    };
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let first = number("OCICAT_SEED", 1);
    let packets = number("OCICAT_PACKETS", PACKETS);
    let mut tally = Tally::default();
    let mut seed = first;
    while tally.packets < packets {
        let plan = Plan {
            seed,
            packets: 300,
            changes: 2,
        };
        match trial(&mut field, &plan) {
            Ok(more) => tally.add(&more),
            Err(failure) => panic!("OCICAT_SEED={seed} OCICAT_PACKETS=1\n{failure}"),
        }
        seed += 1;
    }
    println!("OCICAT_SEED={first}: {tally}");
    // What was not met was not tested.
    if packets >= PACKETS {
        let Tally {
            allowed,
            denied,
            logged,
            invalid,
            untracked,
            fragmented,
            extended,
            ipv6,
            twice,
            transit,
            hosts,
            local,
            refused,
            failsafe,
            upkeep,
            translated,
            ..
        } = tally;
        let met = [
            allowed, denied, logged, invalid, untracked, fragmented, extended, ipv6, twice,
            transit, hosts, local, refused, failsafe, upkeep, translated,
        ];
        assert!(met.iter().all(|count| *count >= OF_EACH), "{tally}");
        for (kind, verdicts) in Kind::ALL.iter().zip(tally.kinds) {
            let least = verdicts.allowed.min(verdicts.denied);
            assert!(least >= OF_EACH, "{kind:?}: {verdicts:?}");
        }
    }
}

/// `None` without root, said aloud.
fn field() -> Option<Field> {
    match Field::create() {
        Ok(field) => Some(field),
        Err(error) if is_forbidden(&error) => {
            println!("skipped: network namespaces need root: {error:#}");
            None
        }
        Err(error) => panic!("{error:#}"),
    }
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    let kernel = error.downcast_ref::<ocicat_kernel::Error>();
    kernel.is_some_and(ocicat_kernel::Error::is_permission)
}
