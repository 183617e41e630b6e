use super::*;
use std::os::unix::fs::PermissionsExt;

fn key(byte: u8) -> Fingerprint {
    Fingerprint::from_bytes([byte; 32])
}

fn store() -> (tempfile::TempDir, KnownHosts) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ftclient/known_hosts");
    (dir, KnownHosts::new(path))
}

#[test]
fn keys_are_kept_with_comments_and_a_private_mode() {
    let (_dir, hosts) = store();
    assert_eq!(hosts.lookup("nas", 1).unwrap(), None);
    hosts.add("nas", 1, &key(1), How::AcceptNew).unwrap();
    let text = fs::read_to_string(hosts.path()).unwrap();
    fs::write(hosts.path(), format!("# mine\n\n{text}  # indented\n")).unwrap();
    hosts.add("fe80::1", 2, &key(2), How::Join).unwrap();
    hosts.add_dated("NAS", 1, &key(1), How::Prompt, "2026-01-31").unwrap();

    let text = fs::read_to_string(hosts.path()).unwrap();
    assert!(
        text.starts_with(&format!("# mine\n\nnas:1 {} how=prompt 2026-01-31\n  # indented\n", key(1))),
        "{text}"
    );
    assert_eq!(
        hosts.lookup("nas", 1).unwrap(),
        Some(Known { fingerprint: key(1), confirmed: true, how: How::Prompt })
    );
    assert_eq!(hosts.lookup("fe80::1", 2).unwrap().unwrap().fingerprint, key(2));
    assert_eq!(hosts.lookup("nas", 2).unwrap(), None, "another port is another server");
    assert_eq!(fs::metadata(hosts.path()).unwrap().permissions().mode() & 0o777, 0o600);

    assert!(hosts.forget("nas", 1).unwrap());
    assert!(!hosts.forget("nas", 1).unwrap());
    assert!(fs::read_to_string(hosts.path()).unwrap().contains("# mine"));
}

#[test]
fn a_damaged_file_is_an_error_with_its_line() {
    let (dir, hosts) = store();
    fs::create_dir_all(dir.path().join("ftclient")).unwrap();
    let good = format!("nas:1 {} how=prompt 2026-01-31", key(1));
    for bad in [
        "nas:1".to_owned(),
        good.replace("how=prompt", "how=magic"),
        good.replace("how=prompt", "prompt"),
        good.replace("SHA256:", "MD5:"),
        good.replace("nas:1", "nas"),
        good.replace("2026-01-31", "yesterday"),
        good.replace("nas:1", "NAS:1"),
        format!("{good} more"),
    ] {
        fs::write(hosts.path(), format!("{good}\n{bad}\n")).unwrap();
        let error = hosts.lookup("other", 9).unwrap_err().to_string();
        assert!(error.contains("known_hosts:2: "), "{bad}: {error}");
        assert!(hosts.add("other", 9, &key(3), How::Trust).is_err(), "a damaged file is not rewritten");
    }
}

#[test]
fn two_writers_lose_nothing() {
    let (_dir, hosts) = store();
    std::thread::scope(|scope| {
        for host in ["a", "b", "c", "d"] {
            let hosts = &hosts;
            scope.spawn(move || {
                (1..=10).for_each(|port| hosts.add(host, port, &key(1), How::Trust).unwrap());
            });
        }
    });
    assert_eq!(fs::read_to_string(hosts.path()).unwrap().lines().count(), 40);
}

fn pin(byte: u8) -> Pin {
    let origin = PinOrigin::Configuration { path: "/c/config.toml".into(), host: "nas".into() };
    Pin { fingerprint: key(byte), origin }
}

fn decided(known: Option<(u8, bool)>, expected: Option<u8>, accept_new: bool, terminal: bool) -> Decision {
    let known = known.map(|(byte, confirmed)| {
        let how = if confirmed { How::Trust } else { How::AcceptNew };
        Known { fingerprint: key(byte), confirmed, how }
    });
    decide(&"nas", known.as_ref(), &key(1), expected.map(pin).as_ref(), accept_new, terminal)
}

#[test]
fn a_known_key_is_trusted_as_far_as_it_was_confirmed() {
    assert_eq!(decided(Some((1, true)), None, false, false), Decision::Trusted { confirmed: true });
    assert_eq!(decided(Some((1, false)), None, true, true), Decision::Trusted { confirmed: false });
    assert_eq!(
        decided(Some((1, false)), Some(1), false, false),
        Decision::AddThenTrust { how: How::Fingerprint },
        "a fingerprint confirms what --accept-new took unseen"
    );
}

#[test]
fn an_unknown_key_needs_a_word_from_somebody() {
    assert_eq!(decided(None, Some(1), true, true), Decision::AddThenTrust { how: How::Fingerprint });
    assert_eq!(decided(None, None, true, true), Decision::AddThenTrust { how: How::AcceptNew });
    assert_eq!(decided(None, None, false, true), Decision::Ask);
    let Decision::Refuse(text) = decided(None, None, false, false) else { panic!("trusted a stranger") };
    assert!(text.contains(&format!("ftclient trust nas --fingerprint {}", key(1))), "{text}");
    assert!(text.contains("--accept-new"), "{text}");
}

#[test]
fn a_changed_key_is_a_hard_stop_whatever_is_given() {
    for (expected, accept_new, terminal) in
        [(None, true, true), (None, false, false), (Some(1), true, true), (Some(2), true, true)]
    {
        for confirmed in [true, false] {
            let decision = decided(Some((2, confirmed)), expected, accept_new, terminal);
            let Decision::Refuse(text) = decision else { panic!("{decision:?}") };
            assert!(text.contains(&key(1).to_string()) && text.contains(&key(2).to_string()), "{text}");
        }
    }
    let Decision::Refuse(text) = decided(Some((2, true)), None, false, true) else { panic!() };
    assert!(text.contains("ftclient trust nas --forget"), "{text}");
}

#[test]
fn an_entry_that_repeats_a_pin_follows_the_pin() {
    let known = |how: How| Known { fingerprint: key(2), confirmed: how.is_confirmed(), how };
    let decided =
        |how, pin: Option<Pin>| decide(&"nas", Some(&known(how)), &key(1), pin.as_ref(), true, true);
    for origin in [PinOrigin::Option, pin(1).origin] {
        let pinned = Some(Pin { fingerprint: key(1), origin });
        let decision = decided(How::Fingerprint, pinned.clone());
        assert_eq!(decision, Decision::AddThenTrust { how: How::Fingerprint });
        for how in [How::Prompt, How::AcceptNew, How::Trust, How::Join] {
            let Decision::Refuse(text) = decided(how, pinned.clone()) else { panic!("{how:?} was replaced") };
            assert!(text.contains("ftclient trust nas --forget"), "{text}");
        }
    }
    // Without a pin it is a stored key as any other; a pin that fits neither replaces nothing.
    for pin in [None, Some(pin(2)), Some(pin(3))] {
        assert!(matches!(decided(How::Fingerprint, pin), Decision::Refuse(_)));
    }
}

#[test]
fn an_unexpected_key_is_refused_with_the_place_of_the_pin_and_the_way_out() {
    let Decision::Refuse(text) = decided(None, Some(2), true, true) else { panic!() };
    assert!(
        text.contains("was expected, as the configuration says (host 'nas' in /c/config.toml)"),
        "{text}"
    );
    assert!(text.ends_with(&format!("run 'ftclient hosts add nas --fingerprint {}'", key(1))), "{text}");
    let Decision::Refuse(text) = decided(Some((3, true)), Some(2), true, true) else { panic!() };
    assert!(text.contains("run 'ftclient trust nas --forget', then 'ftclient hosts add nas"), "{text}");
    assert!(matches!(decided(Some((1, true)), Some(2), true, true), Decision::Refuse(_)));

    let typed = Pin { fingerprint: key(2), origin: PinOrigin::Option };
    let Decision::Refuse(text) = decide(&"nas", None, &key(1), Some(&typed), true, true) else { panic!() };
    assert!(text.contains("was expected, as --fingerprint") && !text.contains("hosts add"), "{text}");
    assert!(text.ends_with(&format!("with --fingerprint {}", key(1))), "{text}");
}
