use std::net::UdpSocket;
use std::path::Path;

use ocicat_kernel::netns::{self, DIRECTORY, Namespace, ScratchNamespace};
use ocicat_kernel::rtnl::Rtnl;
use ocicat_kernel::sysctl;

use super::{exec, scratch};

#[test]
fn lives_as_long_as_its_guard() {
    let Some(namespace) = scratch() else { return };
    let name = namespace.name().to_owned();
    assert!(netns::list("ock-").unwrap().contains(&name));
    assert!(exec(&namespace, &["ip", "link", "show", "lo"]).contains("UP"));
    drop(namespace);
    assert!(!netns::list("ock-").unwrap().contains(&name));
    assert!(!Path::new(DIRECTORY).join(&name).exists());
    netns::delete(&name).expect("deleting twice succeeds");
}

#[test]
fn work_runs_inside_and_returns() {
    let Some(namespace) = scratch() else { return };
    let home = Namespace::current().unwrap().identity().unwrap();
    let inside = namespace
        .run(|| Namespace::current().unwrap().identity().unwrap())
        .unwrap();
    assert_eq!(inside, namespace.identity().unwrap());
    assert_ne!(inside, home);
    assert_eq!(Namespace::current().unwrap().identity().unwrap(), home);
}

#[test]
fn a_panic_inside_comes_home() {
    let Some(namespace) = scratch() else { return };
    let home = Namespace::current().unwrap().identity().unwrap();
    let result = std::panic::catch_unwind(|| namespace.run(|| panic!("on purpose")));
    assert!(result.is_err());
    assert_eq!(Namespace::current().unwrap().identity().unwrap(), home);
}

#[test]
fn sockets_and_connections_stay_where_they_were_opened() {
    let Some(namespace) = scratch() else { return };
    let port = namespace
        .run(|| {
            UdpSocket::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        })
        .unwrap();
    assert_ne!(port, 0);
    let mut rtnl = Rtnl::open_in(&namespace).unwrap();
    let names: Vec<_> = rtnl
        .links()
        .unwrap()
        .into_iter()
        .map(|link| link.name)
        .collect();
    assert_eq!(names, ["lo"]);
}

#[test]
fn settings_belong_to_one_namespace() {
    let (Some(one), Some(two)) = (scratch(), scratch()) else {
        return;
    };
    sysctl::enable_forwarding_in(&one).unwrap();
    sysctl::write_in(&two, "net/ipv4/ip_forward", "0").unwrap();
    assert_eq!(sysctl::read_in(&one, "net/ipv4/ip_forward").unwrap(), "1");
    assert_eq!(
        sysctl::read_in(&one, "net/ipv6/conf/all/forwarding").unwrap(),
        "1"
    );
    assert_eq!(sysctl::read_in(&two, "net/ipv4/ip_forward").unwrap(), "0");
    let error = sysctl::write_in(&one, "net/ipv4/no_such_setting", "1").unwrap_err();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn a_name_is_taken_once() {
    let Some(namespace) = scratch() else { return };
    let error = Namespace::create(namespace.name()).unwrap_err();
    assert!(error.is_exists(), "{error}");
    assert!(
        Namespace::open_named(namespace.name()).is_ok(),
        "the first one survives"
    );
    assert!(Namespace::create("a/b").is_err());
    assert!(Namespace::open(Path::new("/proc/self/ns/mnt")).is_err());
}

#[test]
fn many_at_once_do_not_hide_each_other() {
    if scratch().is_none() {
        return;
    }
    let made: Vec<ScratchNamespace> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| ScratchNamespace::create("ock-many").unwrap()))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    for namespace in &made {
        assert!(
            Namespace::open_named(namespace.name()).is_ok(),
            "{}",
            namespace.name()
        );
    }
}

#[test]
fn a_namespace_lives_at_any_path() {
    if scratch().is_none() {
        return;
    }
    let path = std::env::temp_dir().join(format!("ock-path-{}", std::process::id()));
    let made = Namespace::create_at(&path).unwrap();
    let opened = Namespace::open(&path).unwrap();
    assert_eq!(made.identity().unwrap(), opened.identity().unwrap());
    netns::delete_at(&path).unwrap();
    netns::delete_at(&path).expect("deleting twice succeeds");
    assert!(!path.exists());
    let missing = Namespace::open(&path).unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
}
