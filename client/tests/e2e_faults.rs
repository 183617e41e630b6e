//! Full disks, closed pipes, and servers that are gone, silent or strangers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use common::{BLOCK, Running, World, noise, pipe_without_reader, staging_files};
use ft_protocol::auth::tls;
use ftserver::identity::Identity;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A small file system; unmounted when dropped.
struct TinyDisk(PathBuf);

impl TinyDisk {
    /// `None`, said aloud, where this process may not mount.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(at).output();
        match mounted {
            Ok(done) if done.status.success() => Some(Self(at.to_owned())),
            other => {
                eprintln!("SKIPPED the full disk: no tmpfs can be mounted here ({other:?})");
                None
            }
        }
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_has_its_own_code_and_the_old_file_stays() {
    let world = World::new();
    let Some(disk) = TinyDisk::mount(&world.outside().join("tiny"), "size=1m") else { return };
    let old = noise(4096, 1);
    fs::write(disk.0.join("a"), &old).unwrap();
    world.account_at("tiny", &disk.0);
    let data = noise(3 * BLOCK as usize, 2);
    world.keep("a", &data);
    world.serve("a", &data);
    let target = disk.0.join("a");
    for args in [&["put", "a", "tiny@nas:a"][..], &["get", "nas:a", target.to_str().unwrap()]] {
        let ran = world.ft(args).exits(12).says("No space left");
        assert_eq!(fs::read(&target).unwrap(), old, "{}", ran.shown());
        for left in staging_files(&disk.0) {
            fs::remove_file(left).unwrap();
        }
    }
    world.ft_with(["put", "-", "tiny@nas:a"], &data).exits(12);
    assert_eq!(fs::read(&target).unwrap(), old);
    let ran = world.ft(["put", "--json", "a", "tiny@nas:a"]).exits(12);
    assert_eq!(ran.event("error")["code"], 12);
}

#[test]
fn what_a_full_disk_keeps_is_said() {
    let world = World::new();
    let Some(disk) = TinyDisk::mount(&world.outside().join("tiny"), "size=2m") else { return };
    world.serve("a", noise(3 * BLOCK as usize, 2));
    let target = disk.0.join("a");
    let ran = world.ft(["get", "--no-resume", "nas:a", target.to_str().unwrap()]).exits(12);
    assert!(!ran.err.contains("kept") && staging_files(&disk.0).is_empty(), "{}", ran.shown());
    world.ft(["get", "nas:a", target.to_str().unwrap()]).exits(12).says("what arrived is kept");
    assert_eq!(staging_files(&disk.0).len(), 1);
}

#[test]
fn a_file_size_limit_is_an_error_and_no_sudden_death() {
    let world = World::new();
    world.serve("a", noise(3 * BLOCK as usize, 2));
    let client = world.command(["get", "nas:a", "copy"]);
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "ulimit -f 512; exec \"$0\" \"$@\""])
        .arg(client.get_program())
        .args(client.get_args());
    limited.env_clear().current_dir(world.local(""));
    limited.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
    common::run(&mut limited, b"").exits(1).says("File too large");
    assert!(!world.local("copy").exists());
}

#[test]
fn output_that_nobody_reads_ends_the_run_quietly() {
    let world = World::new();
    for number in 0..50 {
        world.serve(format!("file-{number}"), "x");
    }
    world.serve("big", noise(3 * BLOCK as usize, 3));
    let commands: [&[&str]; 5] = [
        &["ls", "nas:"],
        &["ls", "--json", "nas:"],
        &["sum", "nas:*"],
        &["get", "nas:big", "-"],
        &["get", "--json", "nas:big", "copy"],
    ];
    for args in commands {
        let ran = Running::start_into(&mut world.command(args), pipe_without_reader()).finish();
        assert!(ran.status.code().is_some_and(|code| code != 0), "{}", ran.shown());
        let ran = ran.exits(1);
        // Where standard error is meant for text, a reader that went away needs no words.
        assert!(ran.err.is_empty() || args[0] == "get", "{}", ran.shown());
    }
    let full = File::options().write(true).open("/dev/full").unwrap();
    let ran = Running::start_into(&mut world.command(["ls", "nas:"]), full).finish();
    assert!(!ran.status.success());
    ran.says("No space left");
}

#[test]
fn a_server_that_is_not_there_is_a_temporary_failure() {
    let mut world = World::new();
    world.keep("a", "1");
    world.server.kill();
    for args in [["get", "nas:a", "b"], ["put", "a", "nas:b"], ["mv", "nas:a", "nas:b"]] {
        let ran = world.ft(["--retries", "0"].iter().chain(&args)).exits(5);
        assert_eq!(
            ran.err.lines().filter(|line| line.starts_with("ftclient: ")).count(),
            1,
            "{}",
            ran.shown()
        );
    }
    let ran = world.ft(["get", "--retries", "1", "--json", "nas:a", "b"]).exits(5);
    let retry = ran.event("retry");
    assert_eq!(retry["attempt"], 1);
    assert!(retry["wait_s"].as_f64().is_some_and(|wait| (1.0..=30.0).contains(&wait)), "{retry}");
    let error = ran.event("error");
    assert_eq!((&error["code"], &error["retry_safe"]), (&5.into(), &true.into()));
}

#[test]
fn a_deadline_ends_the_run() {
    let world = World::new();
    world.serve("big", noise(8 * BLOCK as usize, 4));
    let ran = world.ft(["get", "--json", "--deadline", "1500ms", "--bwlimit", "1M", "nas:big"]).exits(10);
    assert_eq!(ran.event("error")["code"], 10);
    assert!(!world.local("big").exists());
}

/// A TLS server that says this and then nothing; each connection the same.
fn stranger(world: &World, says: &'static [u8]) -> SocketAddr {
    let identity = Identity::load(&world.state()).unwrap().unwrap();
    let chain = vec![CertificateDer::from(identity.cert_der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(identity.key_der().to_vec().into());
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(tls::crypto_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![tls::ALPN.to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(session, tcp.unwrap());
            let _ = stream.write_all(says).and_then(|()| stream.flush());
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    address
}

/// The client's run against a server with the right key.
fn against(world: &World, address: SocketAddr) -> common::Ran {
    let fingerprint = &world.server.fingerprint;
    world.ft([
        "ls",
        "--retries",
        "0",
        "-l",
        "anna",
        "--fingerprint",
        fingerprint,
        &format!("ft://{address}/"),
    ])
}

#[test]
fn another_protocol_version_is_named() {
    let world = World::new();
    let mut preface = ft_protocol::wire::frame::preface();
    preface[6..].copy_from_slice(&7_u16.to_be_bytes());
    let address = stranger(&world, preface.to_vec().leak());
    let ran = against(&world, address).exits(13).says("this end speaks 1").says("the peer speaks 7");
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.shown());
}

#[test]
fn a_server_of_something_else_is_recognised() {
    let world = World::new();
    let address = stranger(&world, b"SSH-2.0-OpenSSH_9.9\r\n");
    against(&world, address).exits(1).says("does not speak ft");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for tcp in listener.incoming() {
            let _ = tcp.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let ran = against(&world, address);
    assert!(matches!(ran.status.code(), Some(1 | 5)), "{}", ran.shown());
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.shown());
}
