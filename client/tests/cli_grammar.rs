//! The command line as scripts rely on it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use ftclient::address::RemoteOperand;
use ftclient::cli::values::{DigestChoice, SumDigest};
use ftclient::cli::{
    ExecPlan, GetPlan, Input, Invocation, LocalSource, LocalTarget, Plan, PutPlan, Shell, Stop, command,
    parse, write_completions, write_man,
};
use ftclient::client::Program;
use ftclient::exit::Exit;

/// Parses a line split at blanks; `''` is an empty word.
fn run(line: &str) -> Result<Invocation, Stop> {
    let words = std::iter::once("ftclient").chain(line.split(' ').filter(|word| !word.is_empty()));
    parse(words.map(|word| OsString::from(if word == "''" { "" } else { word })))
}

fn good(line: &str) -> Invocation {
    run(line).unwrap_or_else(|stop| panic!("{line}: {stop:?}"))
}

fn get(line: &str) -> GetPlan {
    let Plan::Get(plan) = good(line).plan else { panic!("{line}") };
    plan
}

fn put(line: &str) -> PutPlan {
    let Plan::Put(plan) = good(line).plan else { panic!("{line}") };
    plan
}

/// The message of a usage error.
fn refused(line: &str) -> String {
    let Err(Stop::Usage { message, .. }) = run(line) else { panic!("accepted: {line}") };
    message
}

fn shown(operand: &RemoteOperand) -> String {
    match operand {
        RemoteOperand::Path(path) => path.to_string(),
        RemoteOperand::Glob(parts) => format!("{} parts", parts.len()),
    }
}

#[test]
fn get_takes_what_cp_takes() {
    for (line, sources, target) in [
        ("get nas:a/b.iso", vec!["a/b.iso"], LocalTarget::Directory(".".into())),
        ("get nas:a b", vec!["a"], LocalTarget::File("b".into())),
        ("get nas:a b/", vec!["a"], LocalTarget::Directory("b/".into())),
        ("get nas:a ..", vec!["a"], LocalTarget::Directory("..".into())),
        ("get nas:a -", vec!["a"], LocalTarget::Stdout),
        ("get nas:a ./-", vec!["a"], LocalTarget::File("./-".into())),
        ("get nas:a nas:b dir", vec!["a", "b"], LocalTarget::Directory("dir".into())),
        ("get -t dir nas:a nas:b", vec!["a", "b"], LocalTarget::Directory("dir".into())),
        ("get -t dir nas:a", vec!["a"], LocalTarget::Directory("dir".into())),
        ("get a b", vec!["a"], LocalTarget::File("b".into())),
        ("get nas:x/*.iso dir", vec!["2 parts"], LocalTarget::File("dir".into())),
        ("get nas:a ./b:c", vec!["a"], LocalTarget::File("./b:c".into())),
    ] {
        let plan = get(line);
        assert_eq!(plan.sources.iter().map(shown).collect::<Vec<_>>(), sources, "{line}");
        assert_eq!(plan.target, target, "{line}");
    }
}

#[test]
fn get_refuses_what_it_could_misread() {
    for (line, says) in [
        ("get", "required"),
        ("get nas:a nas:b", "-t LOCALDIR"),
        ("get nas:a nas:b -", "one source"),
        ("get nas:* -", "pattern"),
        ("get nas:", "names no file"),
        ("get nas:../a b", "'..' is not allowed: paths are beneath"),
        ("get nas:*/../a b", "'..' is not allowed: paths are beneath"),
        ("get nas:a other:b dir", "one host at a time"),
        ("get -t - nas:a", "directory"),
        ("get nas:a ''", "empty"),
        ("get '' b", "remote"),
        ("get --bwlimit 1K nas:a", "64K"),
    ] {
        let message = refused(line);
        assert!(message.contains(says), "{line}: {message}");
    }
}

#[test]
fn put_takes_what_cp_takes() {
    let file = |name: &str| LocalSource::Path(name.into());
    for (line, sources, target, is_dir) in [
        ("put a", vec![file("a")], "/", true),
        ("put a nas:", vec![file("a")], "/", true),
        ("put a nas:b", vec![file("a")], "b", false),
        ("put a nas:b/", vec![file("a")], "b", true),
        ("put a b nas:c", vec![file("a"), file("b")], "c", true),
        ("put -t nas:c a", vec![file("a")], "c", true),
        ("put - nas:b", vec![LocalSource::Stdin], "b", false),
        ("put a nas:*", vec![file("a")], "*", false),
    ] {
        let plan = put(line);
        assert_eq!(plan.sources, sources, "{line}");
        assert_eq!((plan.target.to_string().as_str(), plan.target_is_dir), (target, is_dir), "{line}");
    }
    assert!(put("put --mkdirs a nas:b/c").mkdirs);
}

#[test]
fn put_refuses_what_has_no_name_or_is_not_local() {
    for (line, says) in [
        ("put -", "no name"),
        ("put - nas:", "no name"),
        ("put - nas:b/", "no name"),
        ("put - a nas:b", "no name"),
        ("put -t nas:b -", "no name"),
        ("put dir/ nas:", "directory"),
        ("put one:a two:b", "remote to remote"),
        ("put a nas:b/..", "'..' is not allowed: paths are beneath"),
    ] {
        let message = refused(line);
        assert!(message.contains(says), "{line}: {message}");
    }
}

#[test]
fn names_are_bytes() {
    let words: [&[u8]; 4] = [b"ftclient", b"get", b"nas:a\xff", b"b\xfe"];
    let plan = parse(words.map(|word| OsString::from_vec(word.to_vec()))).unwrap().plan;
    let Plan::Get(plan) = plan else { panic!("not a get") };
    let [RemoteOperand::Path(path)] = plan.sources.as_slice() else { panic!("not one path") };
    assert_eq!(path.as_bytes(), b"a\xff");
    assert_eq!(plan.target, LocalTarget::File(OsString::from_vec(b"b\xfe".to_vec()).into()));
}

#[test]
fn the_host_comes_from_one_place() {
    assert_eq!(good("get anna@nas:a").host.unwrap().to_string(), "anna@nas");
    assert_eq!(good("get a").host, None);
    for line in ["get -H nas:99 a", "-H nas:99 get a", "get a --host nas:99", "--hosts nas:99 get a"] {
        let invocation = good(line);
        assert_eq!(invocation.host, None, "{line}");
        assert_eq!(invocation.connection.hosts.unwrap().to_string(), "nas:99", "{line}");
    }
    for line in ["get -H one two:a", "-H one get two:a", "trust -H one two"] {
        assert!(refused(line).contains("exclude each other"), "{line}");
    }
}

#[test]
fn options_stand_before_and_after_the_verb() {
    for line in ["--json -q get nas:a -P 99 -l anna", "get --json -P 99 nas:a -l anna -q"] {
        let invocation = good(line);
        assert!(invocation.run.json && invocation.run.quiet, "{line}");
        assert_eq!(invocation.connection.port, Some(99));
        assert_eq!(invocation.connection.user.as_deref(), Some("anna"));
    }
    let transfer = get("get -p --no-resume --digest sha256 nas:a").transfer;
    assert!(transfer.preserve && transfer.no_resume);
    assert_eq!(transfer.digest, Some(DigestChoice::Sha256));
}

#[test]
fn bad_values_and_unknown_words_are_refused() {
    for line in [
        "-P 0 ls",
        "-P x ls",
        "-l -x ls",
        "--timeout soon ls",
        "get --bwlimit x nas:a",
        "--fingerprint x ls",
        "get --digest crc nas:a",
        "--progress maybe ls",
        "frobnicate",
        "ls --nonsense",
        "rm nas:",
        "rm nas:/",
        "rm -r",
        "ls --password-file a --password-command b",
        "mkdir nas:/",
        "mv nas: nas:a",
        "mv nas:a",
        "stat",
        "man nosuch",
        "trust nas --forget --fingerprint SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ] {
        refused(line);
    }
}

fn exec(line: &str) -> ExecPlan {
    let Plan::Exec(plan) = good(line).plan else { panic!("{line}") };
    plan
}

#[test]
fn the_first_word_that_is_no_option_is_the_program() {
    for (line, argv) in [
        ("exec df -h", vec!["df", "-h"]),
        ("exec --cwd a -H nas df -H --cwd b -- -x", vec!["df", "-H", "--cwd", "b", "--", "-x"]),
        ("exec -H nas -- -x --json", vec!["-x", "--json"]),
        ("-H nas exec ls nas:a ''", vec!["ls", "nas:a", ""]),
        ("exec ls --shell x --tty --help", vec!["ls", "--shell", "x", "--tty", "--help"]),
    ] {
        let argv = argv.into_iter().map(OsString::from).collect();
        assert_eq!(exec(line).program, Program::Argv(argv), "{line}");
    }
    assert_eq!(good("exec -H nas ls -H other").connection.hosts.unwrap().to_string(), "nas");
    assert!(!good("exec ls --json").run.json);
}

#[test]
fn a_command_reads_only_what_it_is_told_to() {
    for (line, input) in [
        ("exec cat", Input::Pipe),
        ("exec --stdin - cat", Input::Stdin),
        ("exec --stdin ./- cat", Input::File("./-".into())),
        ("exec --tty cat", Input::Terminal),
    ] {
        assert_eq!(exec(line).input, input, "{line}");
    }
    let plan = exec("exec --cwd /a//b/ --env A=b=c --env B= --env C --shell x");
    assert_eq!((plan.program, plan.cwd.to_string()), (Program::Shell("x".into()), "a/b".into()));
    let env = [("A", Some("b=c")), ("B", Some("")), ("C", None)];
    assert_eq!(plan.env, env.map(|(name, value)| (name.into(), value.map(Into::into))));
}

#[test]
fn exec_refuses_what_makes_no_sense() {
    for (line, says) in [
        ("exec", "needs a program"),
        ("exec --", "needs a program"),
        ("exec --shell x y", "cannot be used with"),
        ("exec --tty --stdin - cat", "cannot be used with"),
        ("exec --tty --json cat", "cannot be used with"),
        ("exec --cwd ../a ls", "'..'"),
        ("exec --env =x ls", "NAME=VALUE"),
        ("exec --frobnicate ls", "unexpected argument"),
    ] {
        let message = refused(line);
        assert!(message.contains(says), "{line}: {message}");
    }
}

#[test]
fn housekeeping_verbs_make_plans() {
    let Plan::Ls(plan) = good("ls").plan else { panic!("not an ls") };
    assert_eq!(plan.sources.iter().map(shown).collect::<Vec<_>>(), ["/"]);
    let Plan::Ls(plan) = good("ls --long nas:a").plan else { panic!("not an ls") };
    assert!(plan.long);
    assert!(refused("ls -l nas:").contains("ls --long"));
    let Plan::Mv(plan) = good("mv nas:a/b nas:c/").plan else { panic!("not an mv") };
    assert_eq!((plan.from.to_string(), plan.to.to_string()), ("a/b".into(), "c/b".into()));
    let Plan::Mkdir(plan) = good("mkdir -p nas:a/b").plan else { panic!("not a mkdir") };
    assert!(plan.parents);
    let Plan::Sum(plan) = good("sum --digest sha256 nas:a").plan else { panic!("not a sum") };
    assert_eq!(plan.digest, SumDigest::Sha256);
    let trust = good("trust nas --forget");
    let Plan::Trust(plan) = trust.plan else { panic!("not a trust") };
    assert!(plan.forget);
    assert_eq!(trust.host.unwrap().host, "nas");
}

#[test]
fn usage_errors_are_json_where_json_was_asked_for() {
    for line in ["get --json", "--json get nas:a nas:b", "--json frobnicate"] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(line).unwrap_err().write(&mut out, &mut err).unwrap();
        assert_eq!(exit, Exit::Usage);
        let event: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(event.get("type"), Some(&"error".into()), "{line}");
        assert_eq!(event.get("code"), Some(&2.into()), "{line}");
        assert_eq!(event.get("retry_safe"), Some(&true.into()), "{line}");
        assert!(err.is_empty());
    }
    let (mut out, mut err) = (Vec::new(), Vec::new());
    run("get nas:a nas:b").unwrap_err().write(&mut out, &mut err).unwrap();
    assert!(out.is_empty() && String::from_utf8(err).unwrap().starts_with("error: "));
}

#[test]
fn an_error_cannot_write_to_the_terminal() {
    let cases: [&[&str]; 4] = [
        &["ftclient", "get", "x\x1b[2J:a"],
        &["ftclient", "frob\x1b[2Jnicate"],
        &["ftclient", "-l", "a\x1bb", "ls"],
        &["ftclient", "--timeout", "\u{9b}31m", "ls"],
    ];
    for words in cases {
        let Err(Stop::Usage { message, .. }) = parse(words.iter().map(OsString::from)) else {
            panic!("{words:?}")
        };
        assert!(!message.contains(['\x1b', '\u{9b}']), "{message:?}");
    }
}

#[test]
fn every_verb_has_help_with_examples_and_a_manual_page() {
    let verbs: Vec<String> = command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    assert_eq!(
        verbs,
        [
            "get",
            "put",
            "sync",
            "check",
            "ls",
            "stat",
            "sum",
            "mkdir",
            "rm",
            "mv",
            "exec",
            "shell",
            "hosts",
            "join",
            "trust",
            "key",
            "completions",
            "man"
        ]
    );
    for verb in &verbs {
        let Err(Stop::Show(help)) = run(&format!("{verb} --help")) else { panic!("{verb}") };
        assert!(help.contains("Examples:\n  ftclient"), "{help}");
        let mut page = Vec::new();
        write_man(Some(verb), &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        let title = page.lines().find(|line| line.starts_with(".TH")).unwrap();
        assert!(title.contains("ftclient-") && title.contains(env!("CARGO_PKG_VERSION")), "{title}");
        let Err(Stop::Show(same)) = run(&format!("help {verb}")) else { panic!("help {verb}") };
        assert_eq!(same, help);
    }
    assert!(matches!(run("help"), Err(Stop::Show(_))));
    let Err(Stop::Show(help)) = run("get --help") else { panic!("no help") };
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("hard links are not kept"), "{help}");
    let mut page = Vec::new();
    write_man(None, &mut page).unwrap();
    assert!(String::from_utf8(page).unwrap().contains("FTCLIENT_HOSTS"));
}

#[test]
fn completions_know_verbs_and_options() {
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        let mut script = Vec::new();
        write_completions(shell, &mut script).unwrap();
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("mkdir") && script.contains("accept-new"), "{shell}");
    }
}

#[test]
fn the_definitions_are_sound() {
    command().debug_assert();
}
