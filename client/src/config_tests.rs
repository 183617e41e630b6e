use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("c.toml"), text)
}

#[test]
fn a_full_file_is_read() {
    let config = parse(
        "default_host = 'nas'\n[defaults]\nretries = 2\ntimeout = '5m'\ndigest = 'md5-tree'\n\
         progress = 'never'\nbwlimit = '1M'\n[hosts.nas]\naddress = 'nas.example:99'\nuser = 'anna'\n",
    )
    .unwrap();
    assert_eq!(config.defaults.digest, Some(DigestChoice::Md5Tree));
    assert_eq!(config.defaults.bwlimit, Some(Rate(Some(1 << 20))));
    assert_eq!(config.hosts["nas"].spec("nas").unwrap().port, Some(99));
}

#[test]
fn whatever_cannot_be_understood_is_an_error_with_its_line() {
    for (text, line) in [
        ("a = 1", 1),
        ("[defaults]\nretrys = 1", 2),
        ("[defaults]\ntimeout = 'soon'", 2),
        ("[defaults]\nretries = -1", 2),
        ("[defaults]\n\ndigest = 'crc32'", 3),
        ("[hosts.nas]\naddress = 'a b'", 2),
        ("[hosts.nas]\naddress = 'anna@nas'", 2),
        ("[hosts.nas]\nport = 70000", 2),
        ("[hosts.nas]\nuser = '-x'", 2),
        ("[hosts.nas]\nfingerprint = 'SHA256:x'", 2),
        ("[hosts.nas]\nidentiy = 'x'", 2),
        ("# c\ndefault_host = '-x'", 2),
        ("# c\n[hosts.'a b']", 2),
        ("[hosts.nas", 1),
        ("[hosts.'..']", 1),
        ("[hosts]\na = {}\n'b c' = {}", 3),
        ("[hosts.nas]\nroot = '/a'", 2),
        ("[hosts.nas]\nroot = 'a/../b'", 2),
        ("[hosts.nas]\ntags = ['a',\n 'b c']", 2),
        ("[hosts.nas]\nenabled = 'yes'", 2),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(&format!("c.toml:{line}: ")), "{text:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn groups_hold_hosts_patterns_and_other_groups_in_the_order_written() {
    let config = parse(
        "[groups.all-web]\nhosts = ['db1']\ngroups = ['web', 'edge']\n[groups.edge]\nhosts = ['web[2-3]']\n\
         [groups.web]\nhosts = ['web[1-2]']\n[groups.none]\n\
         [hosts.web3]\n[hosts.web1]\nroot = 'a/b'\ntags = ['x']\nenabled = false\n[hosts.web2]\n[hosts.db1]\n",
    )
    .unwrap();
    assert_eq!(config.groups["all-web"], ["db1", "web1", "web2", "web3"]);
    assert_eq!(config.groups["none"], [] as [&str; 0]);
    assert_eq!(config.names().collect::<Vec<_>>(), ["web3", "web1", "web2", "db1"]);
    assert_eq!(config.groups_of("web2"), ["all-web", "edge", "web"]);
    let entry = &config.hosts["web1"];
    assert_eq!((entry.root.as_ref().unwrap().to_string().as_str(), entry.is_enabled()), ("a/b", false));
    assert!(entry.tags() == ["x"] && config.hosts["web2"].is_enabled());
}

#[test]
fn groups_that_make_no_sense_are_errors_at_the_very_word() {
    let hosts = "[hosts.web1]\n[hosts.web2]\n";
    for (text, line, says) in [
        ("[groups.a]\nhosts = [\n'web1',\n'wbe2']", 6, "there is no host 'wbe2'; did you mean 'web2'?"),
        ("[groups.a]\nhosts = ['web[1-3]']", 4, "there is no host 'web3'; did you mean"),
        ("[groups.a]\nhosts = ['web[']", 4, "a '[' without its ']'"),
        ("[groups.a]\nhosts = ['']", 4, "a host is missing"),
        ("[groups.a]\nhosts = ['anna@web1']", 4, "user and port"),
        ("[groups.a]\nhosts = ['@f']", 4, "no files"),
        ("[groups.web]\n[groups.a]\ngroups = [\n'wbe']", 6, "no group 'wbe'; did you mean 'web'?"),
        ("[groups.all]\nhosts = ['web1']", 3, "every host"),
        ("[groups.'a b']", 3, "bad name of a group 'a b'"),
        ("[groups.a]\nhots = []", 4, "unknown field"),
        ("[groups.a]\ngroups = ['a']", 4, "in a circle: a → a"),
        (
            "[groups.a]\ngroups = ['b']\n[groups.b]\ngroups = ['c']\n[groups.c]\ngroups = ['d',\n'b']\n[groups.d]",
            9,
            "in a circle: b → c → b",
        ),
    ] {
        let error = parse(&format!("{hosts}{text}")).unwrap_err().to_string();
        assert!(error.starts_with(&format!("c.toml:{line}: ")) && error.contains(says), "{text:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn groups_nest_to_a_limit_whatever_their_names() {
    // A chain of 20,000 would take more than the stack of a thread.
    for (length, good) in [(64, true), (65, false), (20_000, false)] {
        let down = |at: usize| format!("[groups.g{at:06}]\ngroups = ['g{:06}']\n", at + 1);
        let up = |at: usize| format!("[groups.g{:06}]\ngroups = ['g{at:06}']\n", at + 1);
        let chains: [String; 2] = [
            (1..length).map(down).collect::<String>() + &format!("[groups.g{length:06}]\nhosts = ['h']\n"),
            "[groups.g000001]\nhosts = ['h']\n".to_owned() + &(1..length).map(up).collect::<String>(),
        ];
        for chain in chains {
            match parse(&format!("[hosts.h]\n{chain}")) {
                Ok(config) => assert!(good && config.groups.values().all(|hosts| hosts == &["h"])),
                Err(error) => {
                    let error = error.to_string();
                    assert!(!good && error.contains("nested more than 64 deep"), "{error}");
                    assert!(
                        ["c.toml:129: ", "c.toml:131: "].iter().any(|at| error.starts_with(at)),
                        "{error}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_missing_file_is_empty_unless_it_was_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    assert_eq!(Config::load(&path, false).unwrap(), Config::default());
    assert!(Config::load(&path, true).is_err());
}

#[test]
fn a_named_configuration_takes_its_neighbours_along() {
    let paths = Paths::find(Some(Path::new("/x/y.toml"))).unwrap();
    assert_eq!(paths.known_hosts, Path::new("/x/known_hosts"));
    assert_eq!(paths.client_key, Path::new("/x/id_ed25519"));
}
