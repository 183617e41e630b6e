use super::*;
use std::os::unix::fs::PermissionsExt;

const INI: &str = "\
[web1]
ip = 10.0.0.1
port = 22
user = root
password = =a%b#c;\"d\\
color = blue
[Web2]
IP: 10.0.0.2:99
enable = False
[bad name]
ip = 10.0.0.3
[web]
web1 = True
web2 = yes
web9 = True
db1 = False
[notes]
text = anything
";

struct Home {
    dir: tempfile::TempDir,
    paths: Paths,
}

fn home(config: &str) -> Home {
    let dir = tempfile::tempdir().unwrap();
    let paths = Paths::find(Some(&dir.path().join("config.toml"))).unwrap();
    fs::write(&paths.config, config).unwrap();
    Home { dir, paths }
}

impl Home {
    fn import(&self, text: &str, replace: bool, dry_run: bool) -> Result<Vec<String>, ConfigError> {
        let file = self.dir.path().join("my.cnf");
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let imported = import(&file, &self.paths, replace, dry_run)?;
        assert!(!imported.exposed);
        Ok(imported.found.iter().map(shown).collect())
    }

    fn config(&self) -> Config {
        Config::load(&self.paths.config, true).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.paths.config).unwrap()
    }

    fn password(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join("passwords").join(name)).ok()
    }
}

fn shown(found: &Found) -> String {
    let line = found.line;
    match &found.what {
        What::Host(host) => format!("{line} host {}", host.name),
        What::Group(group) => format!("{line} group {} {}", group.name, group.hosts.join(" ")),
        What::Skipped { name, .. } => format!("{line} skipped {name}"),
        What::Note { name, what } => format!("{line} note {name} {}", what.split(' ').next().unwrap()),
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn hosts_and_groups_arrive_and_all_else_is_told_with_its_line() {
    let home = home("# mine\n[hosts.db1]\n");
    let found = home.import(INI, false, false).unwrap();
    assert_eq!(
        found,
        [
            "1 host web1",
            "3 note web1 port",
            "6 note web1 'color'",
            "7 host Web2",
            "10 skipped bad name",
            "12 group web web1 Web2",
            "15 note web 'web9'",
            "16 note web 'db1'",
            "17 skipped notes",
        ]
    );
    let config = home.config();
    let web1 = &config.hosts["web1"];
    assert_eq!(
        (web1.address.as_deref(), web1.port, web1.user.as_deref()),
        (Some("10.0.0.1"), None, Some("root"))
    );
    assert_eq!(web1.password_file.as_deref(), Some(Path::new("passwords/web1")));
    assert!(web1.is_enabled() && !config.hosts["Web2"].is_enabled());
    assert_eq!(config.hosts["Web2"].port, Some(99));
    assert_eq!(config.groups["web"], ["web1", "Web2"]);
    assert!(home.text().starts_with("# mine\n"));
    assert_eq!(home.password("web1").unwrap(), "=a%b#c;\"d\\\n");
    assert!(!home.text().contains("a%b"), "no password is in the configuration");
    let directory = home.dir.path().join("passwords");
    assert_eq!((mode(&directory), mode(&directory.join("web1"))), (0o700, 0o600));
}

#[test]
fn a_dry_run_writes_nothing() {
    let home = home("[hosts.db1]\n");
    let dry = home.import(INI, false, true).unwrap();
    assert_eq!((home.text().as_str(), home.password("web1")), ("[hosts.db1]\n", None));
    assert_eq!(dry, home.import(INI, false, false).unwrap());
}

#[test]
fn what_is_there_is_replaced_only_when_asked() {
    let home = home(
        "[hosts.web1]\naddress = 'old:7'\nport = 9\nfingerprint = 'SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'\n\
                     password_command = 'pass'\n[hosts.x]\n[groups.web]\nhosts = ['x']\n",
    );
    let before = home.text();
    let found =
        home.import("[web1]\nip = 10.0.0.1\npassword = new\n[web]\nweb1 = 1\n", false, false).unwrap();
    assert_eq!(found, ["1 skipped web1", "4 skipped web"]);
    assert_eq!((home.text(), home.password("web1")), (before, None));
    home.import("[web1]\nip = 10.0.0.1\npassword = new\n[web]\nweb1 = 1\n", true, false).unwrap();
    let web1 = &home.config().hosts["web1"];
    assert_eq!((web1.address.as_deref(), web1.port), (Some("10.0.0.1"), None));
    assert!(web1.fingerprint.is_some() && web1.password_command.is_none());
    assert_eq!(home.config().groups["web"], ["web1"]);
    home.import("[web1]\nip = 10.0.0.1\npassword = newer\n", true, false).unwrap();
    assert_eq!(home.password("web1").unwrap(), "newer\n");
}

#[test]
fn an_import_that_fails_leaves_no_password_behind() {
    let home = home("[hosts.old]\n");
    let passwords = home.dir.path().join("passwords");
    // A directory in the place of the second password.
    fs::create_dir_all(passwords.join("b")).unwrap();
    fs::write(passwords.join("a"), "before\n").unwrap();
    let text = "[a]\nip = 1.1.1.1\npassword = one\n[c]\nip = 1.1.1.3\npassword = x\n[b]\nip = 1.1.1.2\npassword = two\n";
    let error = home.import(text, false, false).unwrap_err().to_string();
    assert!(error.contains("passwords/b"), "{error}");
    assert_eq!(home.text(), "[hosts.old]\n");
    assert_eq!((home.password("a").as_deref(), home.password("c")), (Some("before\n"), None));
}

#[test]
fn values_that_make_no_sense_skip_their_host_and_are_not_repeated() {
    for (section, says) in [
        ("ip = a b", "line 2: ip is no address"),
        ("ip = anna@x", "line 2: ip is no address"),
        ("ip =", "its ip is empty"),
        ("ip = x\nport = hunter2", "line 3: the port is a number"),
        ("ip = x\nport = 0", "line 3: the port"),
        ("ip = x\nuser = -hunter2", "line 3: this is no name of a user"),
        ("ip = x\nenable = hunter2", "line 3: enable is neither"),
        ("ip = x\npassword = hunter2\n  more", "line 3: the password has several lines"),
    ] {
        let ini = ini::parse(&format!("[h]\n{section}\n[g]\nh = True\n"));
        let found = Plan::new(&Config::default(), false).run(&ini);
        let [Found { what: What::Skipped { why, .. }, .. }, ..] = found.as_slice() else {
            panic!("{section}")
        };
        assert!(why.contains(says) && !why.contains("hunter2"), "{why}");
        assert!(!found.iter().any(|found| matches!(found.what, What::Group(_))), "{section}");
    }
}

#[test]
fn defaults_and_odd_names_are_those_of_configparser() {
    let ini = ini::parse(
        "[DEFAULT]\nuser = root\nport = 22\n[a]\nip = ::1\nport = 7\n[a]\nip = x\n[all]\na = 1\n[..]\nip = x\n[e]\n",
    );
    let found = Plan::new(&Config::default(), false).run(&ini);
    let What::Host(host) = &found[0].what else { panic!() };
    assert_eq!((host.entry.user.as_deref(), host.entry.port), (Some("root"), Some(7)));
    assert_eq!(host.entry.address.as_deref(), Some("[::1]"));
    assert_eq!(
        found[1..].iter().map(shown).collect::<Vec<_>>(),
        ["7 skipped a", "9 skipped all", "11 skipped ..", "13 skipped e"]
    );
}

#[test]
fn groups_find_hosts_of_both_files_whatever_their_case() {
    let config = Config::parse(Path::new("c"), "[hosts.DB1]\n[hosts.web1]\n").unwrap();
    let ini =
        ini::parse("[Web2]\nip = x\n[WEB1]\nip = x\n[web1]\nip = y z\n[g]\nweb1 = 1\nweb2 = 1\ndb1 = 1\n");
    let found = Plan::new(&config, true).run(&ini);
    assert_eq!(shown(found.last().unwrap()), "7 group g web1 Web2 DB1");
}

#[test]
fn a_file_that_others_may_read_is_told_where_it_holds_passwords() {
    let home = home("");
    let file = home.dir.path().join("my.cnf");
    for (text, mode, exposed) in [
        ("[a]\nip = x\npassword = p\n", 0o644, true),
        ("[a]\nip = x\npassword = p\n", 0o600, false),
        ("[a]\nip = x\n", 0o644, false),
    ] {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(import(&file, &home.paths, false, true).unwrap().exposed, exposed, "{text} {mode:o}");
    }
    fs::write(&file, b"[a]\nip = x\npassword = \xff\n").unwrap();
    let error = import(&file, &home.paths, false, true).err().unwrap().to_string();
    assert!(error.contains("my.cnf:3: it is not UTF-8"), "{error}");
}

#[test]
fn a_pipe_in_the_place_of_a_password_is_refused_and_not_waited_for() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let home = home("[hosts.old]\n");
    let passwords = home.dir.path().join("passwords");
    fs::create_dir(&passwords).unwrap();
    mknodat(CWD, passwords.join("a"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    std::os::unix::fs::symlink("../config.toml", passwords.join("b")).unwrap();
    for name in ["a", "b"] {
        let error = home.import(&format!("[{name}]\nip = x\npassword = p\n"), true, false).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(&format!("passwords/{name}: it is no regular file")), "{error}");
    }
    assert_eq!(home.text(), "[hosts.old]\n");
}

#[test]
fn a_directory_of_passwords_that_others_may_enter_is_closed_and_told() {
    let home = home("");
    let passwords = home.dir.path().join("passwords");
    fs::create_dir(&passwords).unwrap();
    fs::set_permissions(&passwords, fs::Permissions::from_mode(0o755)).unwrap();
    let file = home.dir.path().join("my.cnf");
    fs::write(&file, "[a]\nip = x\npassword = p\n").unwrap();
    assert_eq!(import(&file, &home.paths, false, true).unwrap().closed, None);
    assert_eq!(mode(&passwords), 0o755);
    assert_eq!(import(&file, &home.paths, false, false).unwrap().closed.as_deref(), Some(&*passwords));
    assert_eq!(mode(&passwords), 0o700);
    assert_eq!(import(&file, &home.paths, true, false).unwrap().closed, None);
}
