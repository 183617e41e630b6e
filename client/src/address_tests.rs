use super::*;
use ft_protocol::path::check_name;
use proptest::prelude::*;

fn parse(text: &str) -> Result<RemoteArg, AddressError> {
    RemoteArg::parse(OsStr::new(text))
}

/// Host as shown, or `-`, and the literal path.
fn split(text: &str) -> (String, String) {
    let arg = parse(text).unwrap();
    let host = arg.host.as_ref().map_or("-".to_owned(), HostSpec::to_string);
    (host, arg.literal().unwrap().to_string())
}

#[test]
fn operands_split_as_documented() {
    for (typed, host, path) in [
        ("nas:a/b", "nas", "a/b"),
        ("anna@nas:a", "anna@nas", "a"),
        ("nas:2222", "nas", "2222"),
        ("nas:", "nas", "/"),
        ("nas:/a", "nas", "a"),
        ("nas:a:b", "nas", "a:b"),
        ("./a:b", "-", "a:b"),
        ("dir/a:b", "-", "dir/a:b"),
        (":a:b", "-", "a:b"),
        ("a", "-", "a"),
        ("[2001:db8::1]:a", "[2001:db8::1]", "a"),
        ("u@[fe80::1%eth0]:/a", "u@[fe80::1%eth0]", "a"),
        ("nas:[a]:b", "nas", "[a]:b"),
        ("ft://nas", "nas", "/"),
        ("ft://nas/a%20b/%C3%BC", "nas", "a b/ü"),
        ("ft://anna%40home@nas:99/a", "anna@home@nas:99", "a"),
        ("ft://[::1]:99/a", "[::1]:99", "a"),
    ] {
        assert_eq!(split(typed), (host.to_owned(), path.to_owned()), "{typed}");
    }
}

#[test]
fn what_could_be_misread_is_refused() {
    for typed in [
        "-oProxyCommand=x:a",
        "-l@nas:a",
        "@nas:a",
        "a b:c",
        "na\ns:a",
        "[nas]:a",
        "[ab]c:d",
        "ft:///a",
        "ft://nas:0/a",
        "ft://nas:x/a",
        "ft://nas/a%2Fb",
        "ft://nas/a%2",
        "ft://nas:+9/a",
    ] {
        assert!(parse(typed).is_err(), "{typed}");
    }
    let long = format!("{}@nas:a", "u".repeat(65));
    assert!(parse(&long).unwrap_err().to_string().contains("64 bytes"));
    assert!(parse("nas:a/../b").unwrap().literal().is_err());
}

#[test]
fn encoded_glob_characters_are_plain() {
    let arg = parse("ft://nas/%2A.iso").unwrap();
    assert!(matches!(arg.operand().unwrap(), RemoteOperand::Path(p) if p.as_bytes() == b"*.iso"));
    assert!(matches!(parse("ft://nas/*.iso").unwrap().operand().unwrap(), RemoteOperand::Glob(_)));
}

#[test]
fn one_host_at_a_time() {
    let error = "a,b".parse::<HostSpec>().unwrap_err();
    assert!(error.to_string().contains("one host at a time"));
    let spec: HostSpec = "anna@nas:99".parse().unwrap();
    assert_eq!((spec.user.as_deref(), spec.host.as_str(), spec.port), (Some("anna"), "nas", Some(99)));
    assert_eq!("::1".parse::<HostSpec>().unwrap().host, "::1");
    assert_eq!("[::1]:99".parse::<HostSpec>().unwrap().to_string(), "[::1]:99");
}

#[test]
fn a_user_is_no_path_and_no_more_than_one_word() {
    for (user, says) in [
        ("../../x", "holds a '/'"),
        ("/", "holds a '/'"),
        ("a#b", "'#'"),
        ("a b", "white space"),
        ("a\u{a0}b", "white space"),
        ("a[b", "'['"),
        ("@x", "starts with '@'"),
        ("a\u{202e}b", "control character"),
    ] {
        let error = check_user(user).unwrap_err().to_string();
        assert!(error.contains(says), "{user}: {error}");
        assert!(format!("{user}@h01").parse::<HostSpec>().is_err(), "{user}");
        assert!(format!("{user}@h[01-02]").parse::<crate::inventory::HostPattern>().is_err(), "{user}");
    }
    assert!(parse("ft://a%23b@h01/f").is_err() && parse("ft://a%2Cb@h01/f").is_err());
    for user in ["backup-01", "x.y_z", "Anna", "anna@home", "müller"] {
        assert!(check_user(user).is_ok(), "{user}");
    }
}

#[test]
fn a_trailing_slash_or_dot_means_a_directory() {
    for (typed, directory) in [
        ("n:a/", true),
        ("n:", true),
        ("n:/", true),
        ("n:a/.", true),
        ("n:.", true),
        ("n:a", false),
        ("n:a.", false),
    ] {
        assert_eq!(parse(typed).unwrap().names_directory(), directory, "{typed}");
    }
}

proptest! {
    #[test]
    fn whatever_parses_is_safe_to_use(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(arg) = RemoteArg::parse(OsStr::from_bytes(&bytes)) {
            if let Some(host) = &arg.host {
                prop_assert!(check_host(&host.host).is_ok());
                prop_assert!(host.user.as_deref().is_none_or(|user| check_user(user).is_ok()));
            }
            if let Ok(RemoteOperand::Path(path)) = arg.operand() {
                prop_assert!(path.components().all(|name| check_name(name).is_ok()));
            }
        }
    }

    #[test]
    fn a_host_and_any_name_come_back_as_typed(host in "[a-z][a-z0-9.-]{0,20}", name in "[^/\\\\*?\\[\\]\0]{1,40}") {
        prop_assume!(name != "." && name != "..");
        let arg = parse(&format!("{host}:{name}")).unwrap();
        prop_assert_eq!(arg.host.clone().unwrap().host, host);
        let path = arg.literal().unwrap();
        prop_assert_eq!(path.as_bytes(), name.as_bytes());
        prop_assert_eq!(arg.operand().unwrap(), RemoteOperand::Path(path));
    }

    #[test]
    fn hosts_survive_display(user in proptest::option::of("[ -~\u{e9}\u{200e}]{1,8}"), host in "[a-z][a-z0-9-]{0,9}",
                             port in proptest::option::of(1u16..)) {
        let spec = HostSpec { user, host, port };
        prop_assume!(spec.user.as_deref().is_none_or(|user| check_user(user).is_ok()));
        let list: crate::inventory::HostList = spec.to_string().parse().unwrap();
        prop_assert_eq!(list.expand().unwrap(), std::slice::from_ref(&spec));
        prop_assert_eq!(list.single(), Some(&spec));
        prop_assert_eq!(spec.to_string().parse::<HostSpec>().unwrap(), spec);
    }
}

#[test]
fn a_path_of_the_shell_starts_at_the_working_directory_and_never_leaves_the_root() {
    let cwd = RemotePath::from_typed(b"a/b[1]").unwrap();
    for (typed, path, is_directory) in [
        ("c", "a/b[1]/c", false),
        ("./c/", "a/b[1]/c", true),
        ("..", "a", true),
        ("../c", "a/c", false),
        ("../../../../c", "c", false),
        ("/", "", true),
        ("/c/../../d", "d", false),
        (".", "a/b[1]", true),
        ("nas:c", "a/b[1]/nas:c", false),
        ("ft://c", "a/b[1]/ft:/c", false),
    ] {
        let arg = RemoteArg::within(&cwd, typed.as_bytes(), typed.as_bytes());
        assert_eq!(arg.host, None);
        assert_eq!(arg.literal().unwrap().as_bytes(), path.as_bytes(), "{typed}");
        assert_eq!(arg.names_directory(), is_directory, "{typed}");
        let path = RemotePath::from_typed(path.as_bytes()).unwrap();
        assert_eq!(
            arg.operand().unwrap(),
            RemoteOperand::Path(path),
            "the working directory is no pattern: {typed}"
        );
    }
    let pattern = RemoteArg::within(&cwd, b"*.iso", b"*.iso").operand().unwrap();
    assert_eq!(pattern.shown(), b"a/b[1]/*.iso");
    let quoted = RemoteArg::within(&cwd, b"*.iso", br"\*.iso").operand().unwrap();
    assert!(matches!(quoted, RemoteOperand::Path(_)));
}
