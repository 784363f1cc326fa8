//! What a program tries to reach: files, processes, sockets, terminals, the kernel.

use std::io::{ErrorKind, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};

use lambda_os::adapters::sandbox::{Profile, Watch};
use lambda_os::domain::health::Exit;

use crate::world::{Outside, attack, hostile, limits, said, sandboxes};

/// The attack ends by itself and has achieved nothing, in every sandbox.
fn achieves_nothing(args: &[&str]) {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let ran = attack(sandbox, limits(), &outside, args);
        assert_eq!(ran.exit, Exit::Code(0), "{name}: {ran:?}");
        assert!(!said(&ran).contains("GOT"), "{name}: {}", said(&ran));
    }
}

#[test]
fn keys_and_files_of_others_are_not_read() {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let key = outside.path("key");
        let around = outside.path("module/../key");
        let paths = ["reads", &key, &around, "/etc/shadow", "/root/.ssh/id_ed25519", "/proc/1/environ"];
        let ran = attack(sandbox, limits(), &outside, &paths);
        assert_eq!((ran.exit.clone(), said(&ran).as_str()), (Exit::Code(0), ""), "{name}");
    }
}

#[test]
fn what_the_profile_names_is_read() {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let profile = Profile::new(limits()).read(outside.path("key"));
        let argv = [hostile().into(), "reads".into(), outside.path("key").into()];
        let ran = sandbox.run(&profile, &argv, b"", &mut |_| Watch::GoOn);
        assert!(said(&ran).contains("GOT read"), "{name}: {ran:?}");
    }
}

#[test]
fn the_environment_is_composed() {
    for (name, sandbox) in sandboxes() {
        let argv = ["/usr/bin/env".into()];
        let ran = sandbox.run(&Profile::new(limits()).env("MORE", "1"), &argv, b"", &mut |_| Watch::GoOn);
        let text = said(&ran);
        let mut keys: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["HOME", "LC_ALL", "MORE", "PATH", "TMPDIR", "USER", "XDG_RUNTIME_DIR"], "{name}");
    }
}

#[test]
fn other_processes_are_not_seen_signalled_or_traced() {
    let own = std::process::id().to_string();
    achieves_nothing(&["proc", &own]);
    achieves_nothing(&["trace", &own]);
}

#[test]
fn nothing_is_written_outside() {
    for (_, sandbox) in sandboxes() {
        let outside = Outside::new();
        let root = outside.temp.path().to_str().expect("UTF-8").to_owned();
        // What it is given to read stays as it is too: `Outside` looks into the module.
        let ran = attack(sandbox, limits(), &outside, &["writes", &root]);
        assert!(!said(&ran).contains("GOT"), "{}", said(&ran));
    }
}

#[test]
fn a_link_in_what_may_be_written_leads_nowhere() {
    for (name, sandbox) in sandboxes() {
        let outside = Outside::new();
        let work = tempfile::tempdir().expect("a directory");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(work.path(), open).expect("opened");
        let way = work.path().join("way-out");
        std::os::unix::fs::symlink(outside.temp.path(), &way).expect("made");
        let script = format!(
            "echo evil > {way}/canary; echo fine > {work}/own; rm -rf {way}/; cat {way}/key; exit 4",
            way = way.display(),
            work = work.path().display()
        );
        let argv = ["/bin/sh".into(), "-c".into(), script.into()];
        let profile = Profile::new(limits()).write(work.path()).cwd(work.path());
        let ran = sandbox.run(&profile, &argv, b"", &mut |_| Watch::GoOn);
        assert_eq!((ran.exit.clone(), said(&ran).as_str()), (Exit::Code(4), ""), "{name}: {ran:?}");
        assert_eq!(std::fs::read(work.path().join("own")).expect("written"), b"fine\n", "{name}");
        outside.untouched();
    }
}

#[test]
fn abstract_sockets_of_others_are_out_of_reach() {
    let name = format!("lambda-os-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("bound");
    listener.set_nonblocking(true).expect("set");
    achieves_nothing(&["abstract", &name]);
    assert_eq!(listener.accept().expect_err("nobody came").kind(), ErrorKind::WouldBlock);
    drop(listener);
    let datagrams = UnixDatagram::bind_addr(&address).expect("bound");
    datagrams.set_nonblocking(true).expect("set");
    achieves_nothing(&["abstract", &name]);
    assert_eq!(datagrams.recv(&mut [0; 8]).expect_err("nothing came").kind(), ErrorKind::WouldBlock);
}

#[test]
fn sockets_by_path_such_as_the_nix_daemons_are_out_of_reach() {
    let temp = tempfile::tempdir().expect("a directory");
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(temp.path(), open.clone()).expect("opened");
    for datagram in [false, true] {
        let path = temp.path().join(if datagram { "datagram" } else { "socket" });
        let at = path.to_str().expect("UTF-8");
        let came: Box<dyn Fn() -> ErrorKind> = if datagram {
            let socket = UnixDatagram::bind(&path).expect("bound");
            socket.set_nonblocking(true).expect("set");
            Box::new(move || socket.recv(&mut [0; 8]).expect_err("nothing came").kind())
        } else {
            let socket = UnixListener::bind(&path).expect("bound");
            socket.set_nonblocking(true).expect("set");
            Box::new(move || socket.accept().expect_err("nobody came").kind())
        };
        std::fs::set_permissions(&path, open.clone()).expect("opened");
        achieves_nothing(&["unix", at]);
        assert_eq!(came(), ErrorKind::WouldBlock);
    }
    achieves_nothing(&["unix", "/nix/var/nix/daemon-socket/socket"]);
}

#[test]
fn the_network_is_out_of_reach_and_so_is_the_machines_own() {
    let tcp = TcpListener::bind("127.0.0.1:0").expect("bound");
    tcp.set_nonblocking(true).expect("set");
    let port = tcp.local_addr().expect("an address").port();
    let udp = UdpSocket::bind(("127.0.0.1", port)).expect("bound");
    udp.set_nonblocking(true).expect("set");
    achieves_nothing(&["inet", "127.0.0.1", &port.to_string()]);
    assert_eq!(tcp.accept().expect_err("nobody came").kind(), ErrorKind::WouldBlock);
    assert_eq!(udp.recv(&mut [0; 8]).expect_err("nothing came").kind(), ErrorKind::WouldBlock);
}

#[test]
fn nothing_is_typed_into_a_terminal() {
    achieves_nothing(&["terminal"]);
}

#[test]
fn namespaces_and_mounts_are_not_made() {
    let outside = Outside::new();
    achieves_nothing(&["mounts", outside.temp.path().to_str().expect("UTF-8")]);
}

#[test]
fn the_kernels_own_parts_are_out_of_reach() {
    achieves_nothing(&["kernel"]);
}

#[test]
fn no_privilege_is_had_or_won() {
    achieves_nothing(&["privileges"]);
}

#[test]
fn memory_that_nobody_could_count_is_not_had() {
    achieves_nothing(&["hidden-memory"]);
}

#[test]
fn only_three_descriptors_are_open() {
    // Ours is inherited by whatever we start, unless somebody closes it.
    let file = tempfile::tempfile().expect("a file");
    (&file).write_all(b"SECRET").expect("written");
    let inherited = rustix::io::dup(&file).expect("a descriptor without close-on-exec");
    achieves_nothing(&["descriptors"]);
    drop(inherited);
}
