use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

struct Home {
    dir: tempfile::TempDir,
    paths: Paths,
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".ssh")).unwrap();
    let at = |name: &str| dir.path().join(name);
    let paths = Paths {
        config: at("c/config.toml"),
        known_hosts: at("c/known_hosts"),
        client_key: at("c/id_ed25519"),
        home: Some(dir.path().to_owned()),
    };
    Home { dir, paths }
}

impl Home {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn make_key(&self, name: &str) -> PathBuf {
        load_or_make_client_key(&self.at(name)).unwrap();
        self.at(name)
    }

    fn secret(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        fs::write(self.at(name), text).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
        self.at(name)
    }

    fn collect(
        &self,
        identities: &[PathBuf],
        password: Option<PasswordSource>,
        terminal: bool,
    ) -> Candidates {
        Candidates::collect(&endpoint(identities, password), &self.paths, None, terminal).unwrap()
    }
}

fn endpoint(identities: &[PathBuf], password: Option<PasswordSource>) -> Endpoint {
    Endpoint {
        name: "nas".into(),
        host: "nas".into(),
        port: 1,
        user: Some("anna".into()),
        identities: identities.to_vec(),
        password,
        pin: None,
        via: None,
        root: ft_protocol::RemotePath::root(),
    }
}

fn shown(candidates: &Candidates, home: &Home) -> Vec<String> {
    let prefix = format!("{}/", home.dir.path().display());
    candidates.list.iter().map(|candidate| candidate.to_string().replace(&prefix, "")).collect()
}

#[test]
fn candidates_come_in_the_documented_order() {
    let home = home();
    assert!(home.collect(&[], None, false).list.is_empty());
    assert_eq!(shown(&home.collect(&[], None, true), &home), ["password from the terminal"]);
    let named = home.make_key("named");
    home.make_key("c/id_ed25519");
    home.make_key(".ssh/id_ed25519");
    let all = home.collect(std::slice::from_ref(&named), None, true);
    assert_eq!(shown(&all, &home), ["key named", "key c/id_ed25519", "key .ssh/id_ed25519"]);
    let password = PasswordSource::File(home.secret("pw", "x", 0o600));
    let with_password = home.collect(&[named], Some(password), true);
    assert_eq!(shown(&with_password, &home), ["key named", "key c/id_ed25519", "password of pw"]);
}

#[test]
fn the_same_key_is_tried_once() {
    let home = home();
    let key = home.make_key("c/id_ed25519");
    fs::copy(&key, home.at(".ssh/id_ed25519")).unwrap();
    assert_eq!(home.collect(&[key], None, false).list.len(), 1);
}

#[test]
fn a_named_key_that_cannot_be_used_is_an_error_and_others_are_noted() {
    let home = home();
    let good = home.make_key("good");
    let open = home.secret("open", &fs::read_to_string(&good).unwrap(), 0o644);
    let public = home.secret("good.pub", "ssh-ed25519 AAAA", 0o600);
    for (path, says) in [
        (open.clone(), "chmod 600"),
        (public, "public key"),
        (home.at("missing"), "missing"),
        (home.secret("x", "x", 0o600), "OpenSSH"),
    ] {
        let error = Candidates::collect(&endpoint(&[path], None), &home.paths, None, false).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    fs::copy(&open, home.at(".ssh/id_ed25519")).unwrap();
    let found = home.collect(&[], None, false);
    assert!(found.list.is_empty());
    assert!(found.notes[0].contains("chmod 600"), "{:?}", found.notes);
}

#[test]
fn a_password_file_that_is_missing_or_open_to_others_is_refused_before_the_login() {
    let home = home();
    let collect = |path: PathBuf| {
        Candidates::collect(&endpoint(&[], Some(PasswordSource::File(path))), &home.paths, None, false)
    };
    assert!(collect(home.secret("good", "secret", 0o600)).is_ok());
    for mode in [0o640, 0o604, 0o620] {
        let path = home.secret("open", "secret", mode);
        let error = collect(path.clone()).unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
    }
    let missing = home.at("missing");
    let error = collect(missing.clone()).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: ", missing.display())), "{error}");
}

#[test]
fn keys_of_another_type_are_refused_with_advice() {
    use ssh_key::Mpint;
    use ssh_key::private::{KeypairData, RsaKeypair, RsaPrivateKey};
    use ssh_key::public::RsaPublicKey;
    // The shape of an RSA key; the numbers open nothing.
    let n = || Mpint::from_positive_bytes(&[5; 256]).unwrap();
    let rsa = RsaKeypair {
        public: RsaPublicKey { e: n(), n: n() },
        private: RsaPrivateKey { d: n(), iqmp: n(), p: n(), q: n() },
    };
    let key = PrivateKey::new(KeypairData::Rsa(rsa), "old").unwrap();
    let home = home();
    let path = home.secret("rsa", &key.to_openssh(ssh_key::LineEnding::LF).unwrap(), 0o600);
    let error = key_file::load(&path).unwrap_err().to_string();
    assert!(error.contains("only ssh-ed25519") && error.contains("ssh-keygen"), "{error}");
}

#[test]
fn a_key_signs_what_its_public_half_verifies() {
    let home = home();
    let path = home.make_key("k");
    let candidate = key_file::load(&path).unwrap();
    let signature = candidate.sign("ns", b"message").unwrap();
    let public = candidate.public_key().unwrap();
    public.verify("ns", b"message", &signature).unwrap();
    assert!(public.verify("other", b"message", &signature).is_err());
    assert!(public.verify("ns", b"another", &signature).is_err());
}

#[test]
fn an_encrypted_key_asks_for_its_passphrase() {
    let home = home();
    let key = load_or_make_client_key(&home.at("plain")).unwrap();
    // bcrypt-pbkdf with one round keeps the test quick.
    let kdf = ssh_key::Kdf::Bcrypt { salt: vec![7; 16], rounds: 1 };
    let locked = key.encrypt_with(ssh_key::Cipher::Aes256Ctr, kdf, 7, "open sesame").unwrap();
    let path = home.secret("locked", &locked.to_openssh(ssh_key::LineEnding::LF).unwrap(), 0o600);
    let load = || key_file::load(&path).unwrap();
    assert!(matches!(load(), Candidate::EncryptedKey { .. }));
    assert!(load().sign("ns", b"m").is_err());

    let mut answers = ["wrong", "open sesame"].into_iter();
    let unlocked = load().unlock(&mut |_| answers.next().map(|text| Zeroizing::new(text.into()))).unwrap();
    assert!(unlocked.sign("ns", b"m").is_ok());
    let error = load().unlock(&mut |_| None).unwrap_err();
    assert!(error.to_string().contains("ssh-add"), "{error}");
}

#[test]
fn the_client_key_is_private_and_never_replaced() {
    let home = home();
    let path = home.make_key("deep/id_ed25519");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    load_or_make_client_key(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn passwords_come_from_private_files_and_commands() {
    let home = home();
    let read = |source: PasswordSource| source.read().map(|text| text.to_string());
    let file = home.secret("pw", "secret word\nsecond\n", 0o600);
    assert_eq!(read(PasswordSource::File(file)).unwrap(), "secret word");
    let open = home.secret("open", "secret\n", 0o640);
    assert!(read(PasswordSource::File(open)).unwrap_err().to_string().contains("chmod 600"));
    let empty = home.secret("empty", "\n", 0o600);
    assert!(read(PasswordSource::File(empty)).unwrap_err().to_string().contains("empty"));

    let command = |text: &str| read(PasswordSource::Command(text.into()));
    assert_eq!(command("printf 'a  b;$HOME\\nc'").unwrap(), "a  b;$HOME");
    assert!(command("false").unwrap_err().to_string().contains("failed"));
    assert!(command("/no/such/program").is_err());
}

#[test]
fn nothing_shows_a_secret() {
    let home = home();
    let candidate = key_file::load(&home.make_key("k")).unwrap();
    assert_eq!(format!("{candidate:?}"), format!("Candidate(key {})", home.at("k").display()));
    let command = Candidate::Password(PasswordSource::Command("echo hunter2".into()));
    assert!(!format!("{command:?} {command}").contains("hunter2"));
}

/// A length-prefixed string (RFC 4251, 5).
fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// An agent (draft-miller-ssh-agent) that holds one key and signs one message.
fn agent(home: &Home, key: &PrivateKey) -> PathBuf {
    use std::io::{Read, Write};
    let socket = home.at("agent");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let blob = key.public_key().to_bytes().unwrap();
    let data = SshSig::signed_data("ns", HashAlg::Sha512, b"message").unwrap();
    let signature = key.sign("ns", HashAlg::Sha512, b"message").unwrap().signature_bytes().to_vec();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut length = [0; 4];
            while stream.read_exact(&mut length).is_ok() {
                let mut request = vec![0; u32::from_be_bytes(length) as usize];
                stream.read_exact(&mut request).unwrap();
                let answer = match request[0] {
                    11 => [&[12, 0, 0, 0, 1], &string(&blob)[..], &string(b"held")].concat(),
                    13 if request[1..] == [string(&blob), string(&data), vec![0; 4]].concat() => {
                        let signature = [string(b"ssh-ed25519"), string(&signature)].concat();
                        [vec![14], string(&signature)].concat()
                    }
                    _ => vec![5],
                };
                stream.write_all(&string(&answer)).unwrap();
            }
        }
    });
    socket
}

#[test]
fn a_key_of_the_agent_signs_and_spares_the_passphrase() {
    let home = home();
    let key = load_or_make_client_key(&home.at("plain")).unwrap();
    let socket = agent(&home, &key);
    let kdf = ssh_key::Kdf::Bcrypt { salt: vec![7; 16], rounds: 1 };
    let locked = key.encrypt_with(ssh_key::Cipher::Aes256Ctr, kdf, 7, "x").unwrap();
    let locked = home.secret("locked", &locked.to_openssh(ssh_key::LineEnding::LF).unwrap(), 0o600);
    home.make_key("c/id_ed25519");

    let found = Candidates::collect(&endpoint(&[locked], None), &home.paths, Some(&socket), false).unwrap();
    assert_eq!(shown(&found, &home), ["key of the agent 'held'", "key c/id_ed25519"]);
    let signature = found.list[0].sign("ns", b"message").unwrap();
    key.public_key().verify("ns", b"message", &signature).unwrap();
    assert!(found.list[0].sign("ns", b"refused by the agent").is_err());
}

#[test]
fn an_agent_that_is_gone_is_a_note() {
    let home = home();
    let gone = home.at("gone");
    let found = Candidates::collect(&endpoint(&[], None), &home.paths, Some(&gone), false).unwrap();
    assert!(found.list.is_empty() && found.notes[0].contains("ssh-agent"), "{:?}", found.notes);
}
