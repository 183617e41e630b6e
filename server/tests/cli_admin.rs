//! The administration commands as a person meets them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod admin;

use std::fs;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::process::Stdio;

use admin::{KEY, Place, parts};
use ft_protocol::auth::JoinString;
use ftserver::accounts::{Accounts, verify_password};

#[test]
fn an_account_from_its_first_day_to_its_last() {
    let place = Place::new();
    place.ok("user add alice --key key.pub --root data --allow read,write,delete");
    assert_eq!(place.path("state").metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(place.path("state/accounts").metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(place.path("state/accounts/alice.toml").metadata().unwrap().mode() & 0o7777, 0o600);

    let root = place.path("data").canonicalize().unwrap();
    let line = format!("alice\tread,create,overwrite,delete\tkey\t{}\n", root.display());
    assert_eq!(place.ok("user list"), line);
    let shown = place.ok("user show alice");
    assert!(
        shown.contains("password: none") && shown.contains("key: SHA256:") && shown.contains("a@b"),
        "{shown}"
    );

    place.command("user passwd alice").write_stdin("new secret\n").assert().success();
    let account = Accounts::new(&place.state()).load("alice").unwrap().unwrap();
    assert!(verify_password(account.password.as_ref(), b"new secret"));
    assert_eq!(account.keys.len(), 1, "a new password keeps the keys");

    place.refused("user add alice --key key.pub", 1, "user passwd alice");
    place.ok("user remove alice");
    assert_eq!(place.ok("user list"), "");
    for command in ["show", "remove", "passwd"] {
        place.refused(&format!("user {command} alice"), 4, "no account alice");
    }
}

#[test]
fn presets_and_defaults_grant_what_they_say() {
    let place = Place::new();
    for (name, options, rights) in [
        ("a", "", "read,create,overwrite"),
        ("b", "--read-only", "read"),
        ("c", "--append-only", "read,create"),
        ("d", "--allow delete", "delete"),
    ] {
        place.ok(&format!("user add {name} --key key.pub {options}"));
        assert!(place.ok(&format!("user show {name}")).contains(&format!("rights: {rights}\n")));
    }
}

#[test]
fn who_grants_commands_is_told_what_that_means() {
    let place = Place::new();
    place.state().record_listen("192.0.2.1:4711".parse().unwrap()).unwrap();
    let warning = |line: &str| {
        let (code, _, err) = place.run(line);
        assert_eq!(code, 0, "{line}: {err}");
        err.contains("can run any program with the rights of the user that the server runs as")
            && err.contains("state/accounts/ops.toml")
    };
    assert!(warning("user add ops --key key.pub --allow read,exec"));
    assert!(!warning("user allow ops --allow read"));
    assert!(warning("user allow ops --allow shell"));
    place.ok("user remove ops");
    assert!(warning("invite ops --allow exec"));
    assert!(!warning("invite ops --read-only"));

    place.ok("user add ops --key key.pub --allow exec");
    let file = place.path("state/accounts/ops.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n[exec]\ncommands = [['/bin/sh', '*']]\n")).unwrap();
    assert!(!warning("user allow ops --allow read,exec"));
    place.refused("user allow ops --allow shell", 2, "leave out the right 'shell'");
    let shown = place.ok("user show ops");
    assert!(shown.contains("rights: read,exec\n") && shown.contains("command: /bin/sh *\n"), "{shown}");
    assert!(shown.contains("commands may have: none\n"), "{shown}");
}

#[test]
fn check_tells_what_is_wrong_with_a_table_of_commands() {
    let place = Place::new();
    let file = place.path("state/accounts/ops.toml");
    let check = |allow: &str, table: &str| {
        place.run("user remove ops");
        place.ok("user add ops --key key.pub");
        let text = fs::read_to_string(&file).unwrap();
        let allow =
            text.replace("allow = [\"read\", \"create\", \"overwrite\"]", &format!("allow = ['{allow}']"));
        assert_ne!(allow, text);
        fs::write(&file, format!("{allow}\n[exec]\n{table}\n")).unwrap();
        let (code, _, err) = place.run("check");
        (code, err)
    };
    let (code, err) = check("exec", "commands = [['/no/such']]");
    assert!(code == 0 && err.contains("note: ops may run /no/such, which is not there"), "{code} {err}");
    let (code, err) = check("read", "tty = true");
    assert!(code == 0 && err.contains("has no effect"), "{code} {err}");
    let (code, err) = check("exec", "user = 'no-such-user'");
    assert!(code == 2 && err.contains("ops.toml: [exec] user: there is no"), "{code} {err}");
    let (code, err) = check("exec", "comands = [['/bin/df']]");
    assert!(code == 2 && err.contains("ops.toml:") && err.contains("comands"), "{code} {err}");
}

#[test]
fn rights_are_changed_and_nothing_else() {
    let place = Place::new();
    place.ok("user add alice --key key.pub --root data");
    let before = place.ok("user show alice");
    place.ok("user allow alice --allow read,delete");
    let after = place.ok("user show alice");
    assert_eq!(after, before.replace("read,create,overwrite", "read,delete"));
    place.ok("user allow alice --append-only");
    assert!(place.ok("user show alice").contains("rights: read,create\n"));
    place.refused("user allow alice", 2, "--append-only");
    place.refused("user allow alice --read-only --append-only", 2, "cannot be used with");
    place.refused("user allow bob --read-only", 4, "no account bob");
}

#[test]
fn a_key_without_a_comment_is_shown_without_a_blank() {
    let place = Place::new();
    fs::write(place.path("key.pub"), KEY.replace(" a@b", "")).unwrap();
    place.ok("user add alice --key key.pub");
    assert!(place.ok("user show alice").lines().all(|line| line.trim_end() == line));
}

#[test]
fn a_busy_port_is_answered_with_advice() {
    let place = Place::new();
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let line = format!("serve --root data --listen {}", held.local_addr().unwrap());
    place.refused(&line, 1, "another server is running there; give --listen");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_written() {
    let place = Place::new();
    fs::write(place.path("key"), "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n").unwrap();
    fs::write(place.path("rsa.pub"), "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC a@b\n").unwrap();
    fs::write(place.path("open"), "secret\n").unwrap();
    fs::set_permissions(place.path("open"), fs::Permissions::from_mode(0o644)).unwrap();
    for (line, code, saying) in [
        ("user add alice", 2, "--key FILE"),
        ("user add Alice --key key.pub", 2, "a-z, 0-9"),
        ("user add ../alice --key key.pub", 2, "a-z, 0-9"),
        ("user add alice --key key", 2, "ends in .pub"),
        ("user add alice --key rsa.pub", 2, "ssh-keygen -t ed25519"),
        ("user add alice --key none.pub", 4, "none.pub"),
        ("user add alice --password-file open", 2, "chmod 600"),
        ("user add alice --key - --password-file -", 2, "once"),
        ("user add alice --key key.pub --allow read,admin", 2, "unknown right 'admin'"),
        ("user add alice --key key.pub --root nowhere", 2, "nowhere"),
        ("user add alice --key key.pub --root key.pub", 2, "not a directory"),
        ("user add alice --key key.pub --root .", 2, "contains the state directory"),
        ("user add alice --key key.pub --root /", 2, "contains the state directory"),
        ("invite alice --expires 0s --address h", 2, "bad duration"),
        ("invite alice --address -h", 2, "--address"),
        ("invite alice --address h:0", 2, "HOST:PORT"),
        ("serve", 2, "--root DIR"),
        ("serve --root .", 2, "contains the state directory"),
        ("serve --root data --listen localhost", 2, "127.0.0.1:26228"),
        ("stdio --root nowhere", 2, "nowhere"),
    ] {
        place.refused(line, code, saying);
    }
    let state = place.path("state");
    assert!(!state.join("accounts").exists() && !state.join("invites").exists());
}

#[test]
fn a_password_comes_from_a_file_or_standard_input() {
    let place = Place::new();
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(place.path("pw")).unwrap();
    std::io::Write::write_all(&mut file, b" two\n\n").unwrap();
    place.ok("user add file --password-file pw");
    place.command("user add stdin --password-file -").write_stdin("secret").assert().success();
    let accounts = Accounts::new(&place.state());
    for (name, password) in [("file", &b" two\n"[..]), ("stdin", b"secret")] {
        let account = accounts.load(name).unwrap().unwrap();
        assert!(verify_password(account.password.as_ref(), password), "{name}");
    }
    for (bad, saying) in [(String::new(), "empty"), ("\n".into(), "empty"), ("x".repeat(1025), "1024 bytes")]
    {
        let output = place.command("user add bad --password-file -").write_stdin(bad).output().unwrap();
        let (code, _, err) = parts(output);
        assert!(code == 2 && err.contains(saying), "{code} {err}");
    }
}

#[test]
fn of_two_who_add_at_once_one_wins() {
    let place = Place::new();
    let start = |_| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ftserver"));
        command.args(["user", "add", "alice", "--key", "key.pub", "--state", "state"]);
        command.current_dir(place.dir.path()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    let mut codes: Vec<i32> =
        children.into_iter().map(|child| parts(child.wait_with_output().unwrap()).0).collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 1, 1, 1]);
}

#[test]
fn an_invite_is_one_line_that_holds_everything() {
    let place = Place::new();
    place.refused("invite alice", 2, "--address HOST");
    place.state().record_listen("0.0.0.0:4711".parse().unwrap()).unwrap();
    place.refused("invite alice", 2, "every address");

    let (code, out, err) = place.run("invite alice --address files.example.org --read-only");
    assert_eq!(code, 0, "{err}");
    assert_eq!(out.lines().count(), 1);
    let join: JoinString = out.parse().unwrap();
    assert_eq!((join.user(), join.address()), ("alice", "files.example.org:4711"));
    assert_eq!(place.ok("fingerprint"), format!("{}\n", join.fingerprint()));
    assert!(err.contains("ftclient join") && !err.contains("ft-join-"), "{err}");

    place.state().record_listen("[::1]:4712".parse().unwrap()).unwrap();
    let (_, out, err) = place.run("invite bob");
    assert_eq!(out.parse::<JoinString>().unwrap().address(), "[::1]:4712");
    assert!(err.contains("only this machine"), "{err}");
}

#[test]
fn an_invite_for_an_existing_account_changes_no_rights() {
    let place = Place::new();
    place.ok("user add alice --key key.pub --read-only");
    place.refused("invite alice --address h --allow delete", 2, "keeps its rights");
    place.refused("invite alice --address h --root data", 2, "keeps its rights");
    place.ok("invite alice --address h");
    let (_, _, err) = place.run("user remove alice");
    assert!(err.contains("pending invites removed: 1"), "{err}");
    assert_eq!(place.path("state/invites").read_dir().unwrap().count(), 0);
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let place = Place::new();
    fs::write(place.path("ft.toml"), "root = '/root-of-the-file'\nlog_level = 'error'\n").unwrap();
    let serve = |flags: &str, root: Option<&str>| {
        let mut command = place.command(&format!("serve {flags}"));
        command.env("FTSERVER_CONFIG", "ft.toml");
        root.map(|root| command.env("FTSERVER_ROOT", root));
        parts(command.output().unwrap()).2
    };
    assert!(serve("", None).contains("root /root-of-the-file: "));
    assert!(serve("", Some("/root-of-env")).contains("root /root-of-env: "));
    assert!(serve("--root /root-of-flag", Some("/root-of-env")).contains("root /root-of-flag: "));
    let bad = place.command("serve").env("FTSERVER_LOG_LEVEL", "loud").output().unwrap();
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn hostile_names_reach_no_terminal() {
    let place = Place::new();
    place.ok("user add alice --key key.pub");
    let account = place.path("state/accounts/alice.toml");
    fs::write(&account, "\"\\u001b[2J\\n\" = 1\n").unwrap();
    let (code, _, err) = place.run("user show alice");
    assert_eq!(code, 2);
    assert!(!err.contains('\x1b') && err.lines().count() == 1, "{err:?}");
}

#[test]
fn every_command_has_help_a_page_and_completions() {
    let place = Place::new();
    let page = place.ok("man");
    for name in ["SERVE", "USER ADD", "USER PASSWD", "USER ALLOW", "INVITE", "FINGERPRINT", "CHECK", "STDIO"]
    {
        assert!(page.contains(&format!(".SH FTSERVER {name}")), "{name}");
    }
    assert!(page.contains(r"\&  ftserver user add alice \-\-key alice.pub"), "{page}");
    for line in ["serve", "user add", "user allow", "user passwd", "invite", "check", "stdio"] {
        assert!(place.ok(&format!("{line} --help")).contains("Example"), "{line}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(place.ok(&format!("completions {shell}")).contains("fingerprint"), "{shell}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let place = Place::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_ftserver"));
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.current_dir(place.dir.path()).arg("man").stdout(writer).stderr(Stdio::piped());
    let output = output.spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
