use std::os::unix::fs::MetadataExt;
use std::sync::Barrier;

use super::*;
use crate::accounts::parse_public_keys;

const KEYS: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti a
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBgHBgcGBwYHBgcGBwYHBgcGBwYHBgcGBwYHBgcGBwYH b";
const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
const HOUR: Duration = Duration::from_secs(3600);

struct Fixture {
    dir: tempfile::TempDir,
    invites: Invites,
    accounts: Accounts,
    keys: Vec<PublicKey>,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::new(Some(dir.path())).unwrap();
    let keys = parse_public_keys(KEYS).unwrap();
    Fixture { dir, invites: Invites::new(&state), accounts: Accounts::new(&state), keys }
}

fn invitation(user: &str) -> Invitation {
    Invitation { user: user.to_owned(), rights: None, root: None, lifetime: HOUR }
}

fn later(seconds: i64) -> Timestamp {
    NOW.checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

#[test]
fn an_invite_works_once() {
    let f = fixture();
    let asked = Invitation { rights: Some(Rights::READ), ..invitation("alice") };
    let invite = f.invites.create_at(&asked, NOW).unwrap();
    let account = f.invites.redeem_at("alice", &invite.secret, &f.keys[0], later(3599)).unwrap();
    assert_eq!((account.name.as_str(), account.rights), ("alice", Rights::READ));
    assert_eq!(f.accounts.load("alice").unwrap().unwrap().keys, f.keys[..1]);
    let again = f.invites.redeem_at("alice", &invite.secret, &f.keys[1], NOW);
    assert!(matches!(again, Err(InviteError::Unknown)), "{again:?}");
}

#[test]
fn of_two_at_once_one_joins() {
    let f = fixture();
    let invite = f.invites.create_at(&invitation("alice"), NOW).unwrap();
    let barrier = Barrier::new(2);
    let mut outcomes = std::thread::scope(|scope| {
        let join = |key| {
            barrier.wait();
            f.invites.redeem_at("alice", &invite.secret, key, NOW)
        };
        let threads: Vec<_> = f.keys.iter().map(|key| scope.spawn(move || join(key))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    outcomes.retain(Result::is_ok);
    assert_eq!(outcomes.len(), 1);
    assert_eq!(f.accounts.load("alice").unwrap().unwrap().keys.len(), 1);
}

#[test]
fn an_expired_invite_is_refused_and_gone() {
    let f = fixture();
    let invite = f.invites.create_at(&invitation("alice"), NOW).unwrap();
    let late = f.invites.redeem_at("alice", &invite.secret, &f.keys[0], later(3600));
    assert!(matches!(late, Err(InviteError::Expired)), "{late:?}");
    let in_time = f.invites.redeem_at("alice", &invite.secret, &f.keys[0], NOW);
    assert!(matches!(in_time, Err(InviteError::Unknown)), "{in_time:?}");
    assert!(f.accounts.load("alice").unwrap().is_none());
}

#[test]
fn expired_invites_go_when_one_is_made() {
    let f = fixture();
    f.invites.create_at(&invitation("alice"), NOW).unwrap();
    f.invites.create_at(&invitation("bob"), later(1800)).unwrap();
    f.invites.create_at(&invitation("carol"), later(3600)).unwrap();
    assert_eq!(f.invites.check().unwrap().0, 2);
}

#[test]
fn an_account_that_exists_gains_a_key_and_nothing_else() {
    let f = fixture();
    let first =
        f.invites.create_at(&Invitation { rights: Some(Rights::READ), ..invitation("alice") }, NOW).unwrap();
    // Made before the account exists, with rights that it must not get later.
    let second = Invitation { rights: Some(Rights::EXEC), ..invitation("alice") };
    let second = f.invites.create_at(&second, NOW).unwrap();
    f.invites.redeem_at("alice", &first.secret, &f.keys[0], NOW).unwrap();
    let third = f.invites.create_at(&invitation("alice"), NOW).unwrap();
    for secret in [second.secret, third.secret] {
        let account = f.invites.redeem_at("alice", &secret, &f.keys[1], NOW).unwrap();
        assert_eq!((account.rights, account.keys.len()), (Rights::READ, 2));
    }
    let wider = Invitation { rights: Some(Rights::EXEC), ..invitation("alice") };
    assert!(matches!(f.invites.create_at(&wider, NOW), Err(InviteError::Fixed(_))));
}

#[test]
fn a_removed_account_does_not_come_back() {
    let f = fixture();
    let first = f.invites.create_at(&invitation("alice"), NOW).unwrap();
    f.invites.redeem_at("alice", &first.secret, &f.keys[0], NOW).unwrap();
    let pending = f.invites.create_at(&invitation("alice"), NOW).unwrap();
    let other = f.invites.create_at(&invitation("bob"), NOW).unwrap();
    assert_eq!(f.invites.remove_user("alice").unwrap(), (true, 1));
    let back = f.invites.redeem_at("alice", &pending.secret, &f.keys[0], NOW);
    assert!(matches!(back, Err(InviteError::Unknown)), "{back:?}");
    assert!(f.invites.redeem_at("bob", &other.secret, &f.keys[0], NOW).is_ok());
}

#[test]
fn the_secret_is_stored_hashed_and_private() {
    let f = fixture();
    let invite = f.invites.create_at(&invitation("alice"), NOW).unwrap();
    let directory = f.dir.path().join(DIRECTORY);
    assert_eq!(directory.metadata().unwrap().mode() & 0o7777, 0o700);
    let files: Vec<_> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].metadata().unwrap().mode() & 0o7777, 0o600);
    let text = std::fs::read_to_string(&files[0]).unwrap();
    assert!(text.contains(&hash_of(&invite.secret)) && text.contains("2027-01-15T09:00:00Z"), "{text}");
    assert!(!text.contains(&HEXLOWER.encode(invite.secret.as_ref())));
}

#[test]
fn a_file_named_by_the_id_alone_is_not_enough() {
    let f = fixture();
    let invite = f.invites.create_at(&invitation("alice"), NOW).unwrap();
    let hash = hash_of(&invite.secret);
    let path = f.dir.path().join(file_of(&hash));
    let text = std::fs::read_to_string(&path).unwrap();
    let forged = text.replace(&hash, &format!("{}{}", &hash[..ID_DIGITS], "0".repeat(48)));
    std::fs::write(&path, forged).unwrap();
    let refused = f.invites.redeem_at("alice", &invite.secret, &f.keys[0], NOW);
    assert!(matches!(refused, Err(InviteError::Unknown)), "{refused:?}");
}
