//! What is refused, what a command gets, and that no slip in the file widens either.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use ft_protocol::fs::Root;
use ft_protocol::wire::message::Exec;
use ft_protocol::{Error, Status, exec};
use proptest::prelude::*;

use super::{Grant, Plan, Who};
use crate::process::{Io, ProcessLimits, RunAs};
use crate::toml_file;

const COMMANDS: &str = "commands = [['/usr/bin/df', '*'], ['/bin/tar', '-x', '*', '--']]";

fn grant(text: &str) -> Grant {
    toml_file::parse(Path::new("/x"), text).unwrap()
}

fn request(argv: &[&str]) -> Exec {
    Exec { argv: exec::join(argv).unwrap(), ..Exec::default() }
}

fn df() -> Exec {
    request(&["/usr/bin/df", "/srv"])
}

struct Place {
    dir: tempfile::TempDir,
    root: Root,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::os::unix::fs::symlink("sub", dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        Self { dir, root }
    }

    fn plan(&self, grant: &Grant, request: &Exec) -> ft_protocol::Result<Plan> {
        grant.plan(request, &self.root, Who { user: "ops", source: Some("192.0.2.7:4711".parse().unwrap()) })
    }

    fn refused(&self, grant: &Grant, request: &Exec) -> (Status, String) {
        let error = self.plan(grant, request).unwrap_err();
        (error.status(), error.to_string())
    }
}

proptest! {
    #[test]
    fn nothing_but_the_exact_form_matches(argv in proptest::collection::vec("(/bin/tar|/usr/bin/df|df|[-x*]{0,2}|--|/srv)", 1..6)) {
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let expected = match argv[..] {
            ["/usr/bin/df", any] => !any.starts_with('-'),
            ["/bin/tar", "-x", any, "--"] => !any.starts_with('-'),
            _ => false,
        };
        let outcome = grant(COMMANDS).argv(&request(&argv));
        // An empty program is refused before it is compared.
        prop_assert_eq!(outcome.is_ok(), expected);
    }

    #[test]
    fn an_allowed_command_with_one_change_is_refused(any in "[^-\0][^\0]{0,9}", at in 0usize..3, extra in "[^\0]{0,3}") {
        let argv = vec!["/bin/tar".to_owned(), "-x".to_owned(), any, "--".to_owned()];
        let allowed = |argv: &[String]| {
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            grant(COMMANDS).argv(&request(&argv)).is_ok()
        };
        prop_assert!(allowed(&argv));
        let mut longer = argv.clone();
        longer.insert(at, extra);
        prop_assert!(!allowed(&longer));
        let mut shorter = argv.clone();
        shorter.remove(at);
        prop_assert!(!allowed(&shorter));
        let mut option = argv.clone();
        option[2].insert(0, '-');
        prop_assert!(!allowed(&option));
        let mut other = argv;
        other[[0, 1, 3][at]].push('x');
        prop_assert!(!allowed(&other));
    }

    #[test]
    fn without_named_commands_arguments_arrive_as_they_are(
        argv in proptest::collection::vec(proptest::collection::vec(1u8.., 0..9), 1..9)
    ) {
        prop_assume!(!argv[0].is_empty());
        let request = Exec { argv: exec::join(&argv).unwrap(), ..Exec::default() };
        let planned = Grant::everything().argv(&request).unwrap();
        prop_assert!(planned.iter().map(|word| word.as_bytes()).eq(argv.iter().map(Vec::as_slice)));
    }
}

#[test]
fn a_refusal_tells_no_rules() {
    let place = Place::new();
    let (status, message) = place.refused(&grant(COMMANDS), &request(&["/usr/bin/df"]));
    assert_eq!(status, Status::Denied);
    assert_eq!(message, "the account may not run this command; ask the server's operator");
    for program in ["df", "uptime", "no-such-program"] {
        let (status, message) = place.refused(&grant(COMMANDS), &request(&[program]));
        assert_eq!(status, Status::Denied);
        let expected = "the account may not run this command: it may run programs by their full path only; ask the server's operator";
        assert_eq!(message, expected, "{program}");
    }
}

#[test]
fn a_refusal_does_not_repeat_a_name_of_any_length() {
    let place = Place::new();
    for (policy, first) in [("env = []", "x"), ("", "\x1b")] {
        let long = Exec { env: exec::join([first.repeat(200_000) + "=1"]).unwrap(), ..df() };
        let (_, message) = place.refused(&grant(policy), &long);
        assert!(message.len() < 10_000 && message.contains("(200000 bytes in all)"), "{}", message.len());
    }
}

#[test]
fn what_is_beside_a_named_command_is_granted_apart() {
    let place = Place::new();
    let env = |text: &str| exec::join([text]).unwrap();
    let asked = [
        ("tty = true", Exec { tty: true, ..df() }, "terminal"),
        ("stdin = true", Exec { stdin: true, ..df() }, "standard input"),
        ("cwd = true", Exec { cwd: b"sub".into(), ..df() }, "directory"),
        ("env = ['LC_*']", Exec { env: env("LC_ALL=C"), ..df() }, "'LC_ALL'"),
    ];
    for (granting, request, named) in &asked {
        let (status, message) = place.refused(&grant(COMMANDS), request);
        assert_eq!(status, Status::Denied, "{named}");
        assert!(message.contains(named), "{message}");
        for (other, ..) in &asked {
            let planned = place.plan(&grant(&format!("{COMMANDS}\n{other}")), request);
            assert_eq!(planned.is_ok(), other == granting, "{named} with {other}");
        }
        place.plan(&Grant::everything(), request).unwrap();
        if !granting.starts_with("env") {
            let taken = granting.replace("true", "false");
            assert_eq!(place.refused(&grant(&taken), request).0, Status::Denied, "{taken}");
        }
    }
    assert!(place.plan(&grant(COMMANDS), &df()).is_ok());
    assert_eq!(place.refused(&grant("env = []"), &asked[3].1).0, Status::Denied);
}

#[test]
fn a_request_that_makes_no_sense_is_refused() {
    let place = Place::new();
    let all = Grant::everything();
    let env = |text: &str| Exec { env: exec::join([text]).unwrap(), ..df() };
    let term = |term: &[u8]| Exec { tty: true, term: term.into(), ..df() };
    let requests = [
        Exec::default(),
        request(&[""]),
        request(&["", "a"]),
        Exec { shell: true, ..Exec::default() },
        Exec { shell: true, ..request(&["a", "b"]) },
        env("A"),
        env("=a"),
        env("1A=a"),
        env("A-B=a"),
        env("BASH_FUNC_x%%=() { id; }"),
        term(b"../../etc/x"),
        term(b"xterm\n"),
        term(&[b'x'; 65]),
        Exec { tty: true, rows: 65_536, ..df() },
        Exec { cwd: b"../etc".into(), ..df() },
        Exec { cwd: b"/etc".into(), ..df() },
    ];
    for request in requests {
        assert_eq!(place.refused(&all, &request).0, Status::Invalid, "{request:?}");
    }
    for request in [Exec { argv: b"ls".into(), ..Exec::default() }, Exec { env: b"A=1".into(), ..df() }] {
        assert!(matches!(place.plan(&all, &request), Err(Error::Protocol(_))), "{request:?}");
    }
}

#[test]
fn the_directory_stays_beneath_the_root_and_follows_no_link() {
    let place = Place::new();
    let all = Grant::everything();
    let inode = |plan: &Plan| rustix::fs::fstat(&plan.spec.cwd).unwrap().st_ino;
    let of = |name: &str| {
        use std::os::unix::fs::MetadataExt;
        place.dir.path().join(name).metadata().unwrap().ino()
    };
    assert_eq!(inode(&place.plan(&all, &df()).unwrap()), of(""));
    assert_eq!(inode(&place.plan(&all, &Exec { cwd: b"sub".into(), ..df() }).unwrap()), of("sub"));
    for (cwd, status) in [("none", Status::NotFound), ("link", Status::Denied), ("out", Status::Denied)] {
        assert_eq!(place.refused(&all, &Exec { cwd: cwd.into(), ..df() }).0, status, "{cwd}");
    }
}

#[test]
fn the_environment_is_exactly_what_is_documented() {
    let place = Place::new();
    let uid = nix::unistd::geteuid();
    let text = |text: &std::ffi::OsStr| text.to_str().unwrap().to_owned();
    let (name, home, shell) = match nix::unistd::User::from_uid(uid).unwrap() {
        Some(user) => (user.name, text(user.dir.as_os_str()), text(user.shell.as_os_str())),
        None => (uid.to_string(), String::new(), String::new()),
    };
    let mut expected = vec![
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", if home.is_empty() { "/" } else { &home }),
        ("USER", &name),
        ("LOGNAME", &name),
        ("SHELL", if shell.is_empty() { "/bin/sh" } else { &shell }),
        ("FT_USER", "ops"),
        ("FT_CLIENT", "192.0.2.7:4711"),
    ];
    let found = |request: &Exec| {
        let env = place.plan(&Grant::everything(), request).unwrap().spec.env;
        env.iter().map(|(name, value)| (text(name), text(value))).collect::<Vec<_>>()
    };
    let owned = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    assert_eq!(found(&df()), owned(&expected));
    expected.push(("TERM", "xterm-256color"));
    assert_eq!(found(&Exec { tty: true, term: b"xterm-256color".into(), ..df() }), owned(&expected));

    let env = exec::join(["A=1", "HOME=/h", "A=2=3"]).unwrap();
    let set = found(&Exec { env, ..df() });
    let of = |name: &str| set.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect::<Vec<_>>();
    assert_eq!((of("A"), of("HOME"), set.len()), (vec!["2=3"], vec!["/h"], 8));
    for name in ["FT_USER", "FT_CLIENT", "FT_X"] {
        let env = exec::join([format!("{name}=x")]).unwrap();
        assert_eq!(place.refused(&Grant::everything(), &Exec { env, ..df() }).0, Status::Denied, "{name}");
    }
}

#[test]
fn behind_ssh_there_is_no_client_address() {
    let place = Place::new();
    let who = Who { user: "stdio", source: None };
    let plan = Grant::everything().plan(&df(), &place.root, who).unwrap();
    assert!(plan.spec.env.contains(&("FT_CLIENT".into(), OsString::new())));
}

#[test]
fn a_command_gets_what_the_table_says() {
    let place = Place::new();
    let plan =
        place.plan(&grant("shell = '/bin/dash'"), &Exec { shell: true, ..request(&["-x; id"]) }).unwrap();
    // A blank keeps the shell from taking the line for options.
    assert_eq!(plan.spec.argv, ["/bin/dash", "-c", " -x; id"]);
    assert_eq!(plan.spec.io, Io::Pipes { stdin: false });
    assert_eq!((plan.time_limit, plan.output_limit, plan.spec.new_privileges), (None, None, false));
    assert_eq!(plan.spec.limits, ProcessLimits::default());

    let table = "new_privileges = true\ntime_limit = '10m'\noutput_limit = '1K'\n[limits]\nprocesses = 9\n\
                 memory = '1G'\ncpu_time = '5m'\nfile_size = '2K'\nopen_files = 16";
    let request = Exec { tty: true, rows: 24, columns: 80, ..Exec { shell: true, ..request(&["id"]) } };
    let plan = place.plan(&grant(table), &request).unwrap();
    assert_eq!(plan.spec.argv, ["/bin/sh", "-c", "id"]);
    assert_eq!(plan.spec.io, Io::Terminal { rows: 24, columns: 80 });
    assert_eq!((plan.time_limit, plan.output_limit), (Some(Duration::from_secs(600)), Some(1024)));
    assert!(plan.spec.new_privileges);
    let limits = ProcessLimits {
        processes: Some(9),
        memory: Some(1 << 30),
        cpu_seconds: Some(300),
        file_size: Some(2048),
        open_files: Some(16),
    };
    assert_eq!(plan.spec.limits, limits);
}

#[test]
fn commands_run_as_a_user_only_where_the_server_can_become_it() {
    use nix::unistd::{Gid, Uid, User, getgrouplist};
    let root = Uid::from_raw(0);
    let daemon = User::from_name("daemon").unwrap().expect("every Linux has a user daemon");
    let groups = getgrouplist(c"daemon", daemon.gid).unwrap().into_iter().map(Gid::as_raw).collect();
    let as_root = super::account::identity_for(Some("daemon"), root).unwrap();
    let expected = RunAs { uid: daemon.uid.as_raw(), gid: daemon.gid.as_raw(), groups };
    assert_eq!((as_root.run_as, as_root.name), (Some(expected), "daemon".into()));
    let own = super::account::identity_for(Some("daemon"), daemon.uid).unwrap();
    assert_eq!((own.run_as, own.name), (None, "daemon".into()));
    assert!(super::account::identity_for(Some("root"), daemon.uid).unwrap_err().contains("only root"));
    assert!(super::account::identity_for(Some("no-such-user"), root).unwrap_err().contains("no-such-user"));
    let nameless = super::account::identity_for(None, Uid::from_raw(3_999_999_999)).unwrap();
    let shown = (nameless.name.to_str(), nameless.home.to_str(), nameless.shell.to_str());
    assert_eq!(shown, (Some("3999999999"), Some("/"), Some("/bin/sh")));

    let place = Place::new();
    let (status, message) = place.refused(&grant("user = 'no-such-user'"), &df());
    assert_eq!(status, Status::Failed);
    assert!(message.contains("as configured") && !message.contains("no-such-user"), "{message}");
}
