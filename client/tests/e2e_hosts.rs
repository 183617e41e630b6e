//! The inventory: `hosts`, the selection of hosts, and what is said of names that are none.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test panics")]

#[allow(dead_code, unused_imports, reason = "not every test needs all of it")]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use common::World;
use serde_json::Value;

const CONFIG: &str = "\
# mine
default_host = 'web2'

[hosts.web1] # first
address = '10.0.0.1:99'
user = 'anna'
root = 'data'
tags = ['front']
fingerprint = 'SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'
password_command = 'echo hunter2'

[hosts.web2]
enabled = false

[hosts.db1]
[groups.web]
hosts = ['web[1-2]'] # both
";

fn world() -> World {
    let world = World::new();
    world.configure(CONFIG);
    world
}

fn text(world: &World) -> String {
    fs::read_to_string(world.config_dir().join("config.toml")).unwrap()
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["host"].as_str().unwrap()).collect()
}

#[test]
fn the_list_shows_all_hosts_or_those_selected() {
    let world = world();
    let all = world.ft(["hosts", "list"]).ok();
    assert_eq!(
        all.text(),
        "NAME  ADDRESS      USER  TAGS   GROUPS\n\
         web1  10.0.0.1:99  anna  front  web\n\
         web2  web2:26228   -     -      web     disabled\n\
         db1   db1:26228    -     -      -\n"
    );
    let events = world.ft(["hosts", "list", "--json", "-g", "web", "-x", "web2"]).ok().events();
    assert_eq!(names(&events), ["web1"]);
    assert_eq!(events[0]["type"], "host_entry");
    assert_eq!((&events[0]["port"], &events[0]["root"]), (&Value::from(99), &Value::from("data")));
    assert_eq!(names(&world.ft(["hosts", "list", "--json", "--tags", "front"]).ok().events()), ["web1"]);
    let both = world.ft(["hosts", "list", "--json", "-H", "db[1],10.0.0.9:7"]).ok().events();
    assert_eq!(names(&both), ["db1", "10.0.0.9"]);
    // What the environment says is no selection of a list.
    let mut command = world.command(["hosts", "list", "--json"]);
    assert_eq!(common::run(command.env("FTCLIENT_HOSTS", "db1"), b"").ok().events().len(), 3);
    world.ft(["hosts", "list", "-g", "wbe"]).exits(2).says("no group 'wbe'").says("did you mean 'web'?");
    world.ft(["hosts", "list", "--tags", "frnot"]).exits(2).says("did you mean 'front'?");
    world.ft(["hosts", "list", "-g", "web", "-x", "web"]).exits(2).says("-x leaves out all");
}

#[test]
fn a_host_is_shown_with_all_that_is_known_and_no_secret() {
    let world = world();
    let shown = world.ft(["hosts", "show", "web1"]).ok();
    let all = shown.text();
    for says in
        ["10.0.0.1:99", "anna", "data", "front", "web", "password command", "SHA256:AAAA", "configuration"]
    {
        assert!(all.contains(says), "{says}: {all}");
    }
    assert!(!all.contains("hunter2"), "{all}");
    let event = world.ft(["hosts", "show", "--json", "web1"]).ok().event("host_show");
    assert_eq!(
        (&event["confirmed_by"], &event["groups"][0]),
        (&Value::from("configuration"), &Value::from("web"))
    );
    assert!(!event.to_string().contains("hunter2"));
    let db1 = world.ft(["hosts", "show", "db1"]).ok().text();
    assert!(db1.contains("ftclient trust db1") && db1.contains("none of its own"), "{db1}");
    let key = "SHA256:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBA";
    world.ft(["trust", "db1", "--fingerprint", key]).ok();
    assert!(world.ft(["hosts", "show", "db1"]).ok().text().contains("confirmed by 'ftclient trust'"));
    assert_eq!(world.ft(["hosts", "show", "db1", "--json"]).ok().event("host_show")["confirmed_by"], "trust");
    assert!(world.ft(["hosts", "show", "web2"]).ok().text().contains("enabled      no"));
    world.ft(["hosts", "show", "wbe1"]).exits(2).says("no host 'wbe1'").says("did you mean 'web1'?");
}

#[test]
fn hosts_are_added_and_changed_without_touching_the_rest() {
    let world = world();
    let mut command =
        world.command(["hosts", "add", "new[08-10]", "web1", "-P", "7", "--tags", "x,y", "--group", "fresh"]);
    // Only what was typed is kept.
    let ran = common::run(command.env("FTCLIENT_USER", "eve").env("FTCLIENT_PASSWORD_FILE", "pw"), b"").ok();
    ran.says("added new08 (now in fresh)").says("changed web1 (now in fresh)");
    let config = text(&world);
    assert!(config.starts_with("# mine\n") && config.contains("[hosts.web1] # first"), "{config}");
    assert!(config.contains("address = '10.0.0.1:99'") && !config.contains("eve"), "{config}");
    assert!(config.contains("hosts = [\"new[08-10]\", \"web1\"]"), "{config}");
    let event = world.ft(["hosts", "list", "--json", "-H", "new09,"]).ok().event("host_entry");
    assert_eq!(
        (&event["port"], &event["tags"], &event["groups"][0]),
        (&7.into(), &serde_json::json!(["x", "y"]), &"fresh".into())
    );

    world.ft(["hosts", "add", "web2", "--enabled"]).ok().says("changed web2");
    world.ft(["hosts", "add", "web2", "--enabled"]).ok().says("unchanged: web2");
    let change = world.ft(["hosts", "add", "web2", "--disabled", "--json"]).ok().event("host_change");
    assert_eq!((&change["host"], &change["change"]), (&"web2".into(), &"changed".into()));
    let before = text(&world);
    world.ft(["hosts", "add", "bad", "--group", "all"]).exits(2);
    assert_eq!(text(&world), before);
}

#[test]
fn the_first_host_makes_a_private_file_and_paths_become_absolute() {
    let world = world();
    let path = world.home().join("other/config.toml");
    let named = path.to_str().unwrap();
    world.ft(["hosts", "add", "nas", "-i", "key", "--config", named]).exits(2).says("other/config.toml");
    fs::remove_file(world.config_dir().join("config.toml")).unwrap();
    world.ft(["hosts", "list"]).ok().says("there are no hosts in");
    world.ft(["hosts", "add", "nas", "-i", "key"]).ok();
    let config = text(&world);
    assert!(config.contains("/key\"") && config.contains("identity = \"/"), "{config}");
    let made = fs::metadata(world.config_dir().join("config.toml")).unwrap();
    assert_eq!(made.permissions().mode() & 0o777, 0o600);
}

#[test]
fn removed_hosts_leave_groups_and_default() {
    let world = world();
    let before = text(&world);
    world.ft(["hosts", "remove", "web1", "web3"]).exits(2).says("no host 'web3'").says("did you mean");
    assert_eq!(text(&world), before, "all or nothing");
    world.ft(["hosts", "remove", "web2"]).ok().says("removed web2 (also from web; it was default_host");
    let config = text(&world);
    assert!(!config.contains("default_host") && config.contains("hosts = [\"web1\"] # both"), "{config}");
    let events = world.ft(["hosts", "remove", "--json", "web[1]", "db1"]).ok().events();
    assert_eq!(names(&events), ["web1", "db1"]);
    assert!(text(&world).contains("# mine"));
}

#[test]
fn an_ini_file_becomes_an_inventory() {
    let world = world();
    let file = world.local("old.cnf");
    let ini = "[app1]\nip = 10.1.0.1\nport = 22\nuser = root\npassword = =pa%ss;#\nx = 1\n\
               [app2]\nip = 10.1.0.2\nenable = no\n[web1]\nip = 10.1.0.3\n\
               [apps]\napp1 = True\napp2 = True\n[a b]\nip = x\n";
    fs::write(&file, ini).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let named = file.to_str().unwrap();
    let before = text(&world);
    let dry = world.ft(["hosts", "import", named, "-n"]).ok();
    dry.says("would import 2 hosts (1 disabled) and 1 group; skipped 2");
    assert_eq!(text(&world), before);
    assert!(!world.config_dir().join("passwords").exists());

    let ran = world.ft(["hosts", "import", named]).ok();
    assert!(!ran.err.contains("pa%ss"), "{}", ran.shown());
    let ran = ran
        .says("host app1: 10.1.0.1, user root, password in passwords/app1")
        .says("old.cnf:3: [app1]: port 22 is ssh's: 26228 is used")
        .says("old.cnf:6: [app1]: 'x' is left out")
        .says("old.cnf:10: skipped [web1]: it is in the configuration already; --replace")
        .says("group apps: app[1-2]")
        .says("warning: ")
        .says("chmod 600")
        .says("imported 2 hosts (1 disabled) and 1 group; skipped 2");
    ran.says("ftclient trust -g all");
    let password = world.config_dir().join("passwords/app1");
    assert_eq!(fs::read_to_string(&password).unwrap(), "=pa%ss;#\n");
    assert_eq!(fs::metadata(&password).unwrap().permissions().mode() & 0o777, 0o600);
    let after = text(&world);
    assert!(before.lines().all(|line| after.contains(line)) && !after.contains("pa%ss"), "{after}");
    assert_eq!(names(&world.ft(["hosts", "list", "--json", "-g", "apps"]).ok().events()), ["app1", "app2"]);

    let events = world.ft(["hosts", "import", named, "--replace", "--json"]).ok().events();
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "host_import").count(), 3);
    assert_eq!(kinds.last(), Some(&"summary"));
    assert_eq!(
        (&events.last().unwrap()["hosts"], &events.last().unwrap()["skipped"]),
        (&3.into(), &1.into())
    );
    assert!(!serde_json::to_string(&events).unwrap().contains("pa%ss"));

    fs::write(&file, "nothing\n").unwrap();
    world.ft(["hosts", "import", named]).exits(2).says("holds no hosts");
    world.ft(["hosts", "import", "/nowhere"]).exits(2).says("/nowhere");
}

#[test]
fn a_disabled_host_and_a_mistyped_one_are_usage_errors_before_anything_is_sent() {
    let world = world();
    for args in [&["ls", "web2:"][..], &["ls", "-H", "web2", ":"], &["ls", ":"]] {
        world.ft(args).exits(2).says("disabled").says("ftclient hosts add web2 --enabled");
    }
    world.ft(["ls", "-g", "web", "-x", "web1", ":"]).exits(2).says("disabled");
    // Whatever a resolver says to a name that cannot be one: the configuration has a similar one.
    let long = format!("web{}", "x".repeat(70));
    world.configure(&format!("[hosts.{long}]\n"));
    let typed = format!("{}y", &long[..long.len() - 1]);
    let ran = world.ft(["ls", &format!("{typed}:")]).exits(2);
    ran.says(&format!("there is no host '{typed}'")).says(&format!("did you mean '{long}'?"));
    world.ft(["ls", "-H", &format!("{typed},"), ":"]).exits(2).says("did you mean");
}

#[test]
fn a_password_file_is_looked_at_before_anybody_is_connected_to() {
    let world = world();
    let file = world.local("pw");
    let named = file.to_str().unwrap();
    // Nobody listens there.
    world.configure(&format!(
        "[hosts.nas]\naddress = '127.0.0.1:1'\nuser = 'anna'\npassword_file = '{named}'\n"
    ));
    world.ft(["ls", "nas:"]).exits(7).says(named);
    fs::write(&file, "secret\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    world.ft(["ls", "nas:"]).exits(7).says("chmod 600");
    assert!(world.ft(["hosts", "show", "nas"]).ok().text().contains("unusable"));
}
