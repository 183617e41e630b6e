//! The command line of `hosts`, and lists of hosts, as scripts rely on them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::ffi::OsString;

use ftclient::cli::{AddPlan, HostsPlan, ImportPlan, Invocation, Plan, Stop, parse};

/// Parses a line split at blanks; `''` is an empty word.
fn run(line: &str) -> Result<Invocation, Stop> {
    let words = std::iter::once("ftclient").chain(line.split(' '));
    parse(words.map(|word| OsString::from(if word == "''" { "" } else { word })))
}

fn hosts(line: &str) -> HostsPlan {
    let invocation = run(line).unwrap_or_else(|stop| panic!("{line}: {stop:?}"));
    assert_eq!(invocation.fleet, None, "{line}");
    let Plan::Hosts(plan) = invocation.plan else { panic!("{line}") };
    plan
}

fn add(line: &str) -> AddPlan {
    let HostsPlan::Add(plan) = hosts(line) else { panic!("{line}") };
    *plan
}

fn refused(line: &str) -> String {
    let Err(Stop::Usage { message, .. }) = run(line) else { panic!("accepted: {line}") };
    message
}

#[test]
fn hosts_list_takes_every_way_to_select() {
    let HostsPlan::List(selection) = hosts("hosts list") else { panic!() };
    assert_eq!(selection, Default::default());
    let line = "hosts list -H web[1-3],@f -g web,db -x db1 --tags a,b";
    let HostsPlan::List(selection) = hosts(line) else { panic!() };
    assert_eq!(selection.hosts.unwrap().to_string(), "web[1-3],@f");
    assert_eq!(
        (selection.groups, selection.tags),
        (vec!["web".into(), "db".into()], vec!["a".into(), "b".into()])
    );
    assert_eq!(selection.exclude.unwrap().to_string(), "db1");
}

#[test]
fn hosts_add_takes_names_and_what_is_typed_for_them() {
    let plan = add(
        "hosts add web[1-2] db1 web1 -P 99 -l anna -i k --password-file /p --root a/b --tags x,y --group g --group h --disabled",
    );
    assert_eq!(plan.names, ["web1", "web2", "db1"]);
    assert_eq!(plan.groups, ["g", "h"]);
    let entry = plan.entry;
    assert_eq!((entry.port, entry.user.as_deref(), entry.enabled), (Some(99), Some("anna"), Some(false)));
    assert_eq!(entry.identity.unwrap(), std::env::current_dir().unwrap().join("k"));
    assert_eq!(entry.password_file.unwrap(), std::path::Path::new("/p"));
    assert_eq!(entry.tags.unwrap(), ["x", "y"]);
    assert_eq!(entry.root.unwrap().to_string(), "a/b");

    let plan = add("hosts add nas --address files.example:7 --tags '' --enabled");
    assert_eq!((plan.entry.address.as_deref(), plan.entry.port), (Some("files.example"), Some(7)));
    assert_eq!((plan.entry.tags, plan.entry.enabled), (Some(Vec::new()), Some(true)));
    assert_eq!(add("hosts add nas --address [::1]").entry.address.as_deref(), Some("[::1]"));
    assert_eq!(add("hosts add nas").entry, Default::default());
}

#[test]
fn hosts_remove_and_import_take_what_they_need() {
    assert_eq!(hosts("hosts remove web[1-2] web2"), HostsPlan::Remove(vec!["web1".into(), "web2".into()]));
    assert_eq!(hosts("hosts show web1"), HostsPlan::Show("web1".into()));
    let plan = |replace, dry_run| HostsPlan::Import(ImportPlan { file: "a.ini".into(), replace, dry_run });
    assert_eq!(hosts("hosts import a.ini"), plan(false, false));
    assert_eq!(hosts("hosts import -n --replace a.ini"), plan(true, true));
}

#[test]
fn what_could_be_misread_is_refused() {
    for (line, says) in [
        ("hosts add", "NAME"),
        ("hosts add anna@web1", "-l"),
        ("hosts add web1:99", "-P"),
        ("hosts add @f", "no files"),
        ("hosts add ..", "dots"),
        ("hosts add web1 web2 --address x", "--address is that of one host"),
        ("hosts add web1 --address anna@x", "-l"),
        ("hosts add web1 --address x:1 -P 2", "-P 2"),
        ("hosts add web1 --root /a", "without a '/'"),
        ("hosts add web1 --root a/../b", "'..'"),
        ("hosts add web1 --tags a/b", "bad tag"),
        ("hosts add web1 --group all", "every host"),
        ("hosts add web1 --enabled --disabled", "--disabled"),
        ("hosts add web1 -g web", "select hosts for 'hosts list'"),
        ("hosts add -H web1 web2", "select hosts for 'hosts list'"),
        ("hosts show web[1-2]", "one host at a time"),
        ("hosts show web1 --tags a", "select hosts for 'hosts list'"),
        ("hosts remove -g web web1", "select hosts for 'hosts list'"),
        ("hosts list -b", "-b makes no sense with 'hosts'"),
        ("hosts list -x a,,b", "a host is missing"),
        ("hosts frobnicate", "frobnicate"),
        ("ls -H web[1- :", "without its ']'"),
        ("ls -H web[1-20000] :", "more than 10000 hosts"),
        ("ls -H .. :", "dots"),
    ] {
        let message = refused(line);
        assert!(message.contains(says), "{line}: {message}");
    }
}

#[test]
fn lists_are_many_hosts_and_a_plain_name_is_one() {
    for (line, fleet) in [
        ("ls -H web1 :", false),
        ("ls -H [::1]:99 :", false),
        ("ls -H web1, :", true),
        ("ls -H web[1-2] :", true),
        ("ls -H @f :", true),
        ("ls -g all :", true),
        ("ls --tags a :", true),
    ] {
        assert_eq!(run(line).unwrap().fleet.is_some(), fleet, "{line}");
    }
}

#[test]
fn every_part_of_hosts_explains_itself() {
    for verb in ["hosts", "hosts list", "hosts show", "hosts add", "hosts remove", "hosts import"] {
        let Err(Stop::Show(help)) = run(&format!("{verb} --help")) else { panic!("{verb}") };
        assert!(help.contains("Examples:\n  ftclient hosts"), "{help}");
    }
}
