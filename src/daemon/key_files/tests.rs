use super::*;
use crate::edge::temp_dir::TempDir;
use crate::wire::gorgone::seeded_random::SeededRandom;
use crate::wire::gorgone::test_keys::{CLIENT_PKCS1, SERVER_PKCS1, SERVER_PKCS8, SERVER_SPKI, SHORT_PKCS1};

/// Makes a directory with a private key of `mode` and a public key. An empty text leaves a file out.
fn files(private: &str, mode: u32, public: &str) -> (TempDir, PathBuf, PathBuf) {
    let directory = TempDir::new();
    let (private_path, public_path) = (directory.join(PRIVATE_NAME), directory.join(PUBLIC_NAME));
    if !private.is_empty() {
        fs::write(&private_path, private).unwrap();
        fs::set_permissions(&private_path, Permissions::from_mode(mode)).unwrap();
    }
    if !public.is_empty() {
        fs::write(&public_path, public).unwrap();
    }
    (directory, private_path, public_path)
}

fn load(private: &Path, public: &Path) -> Result<KeyPair, KeyFileError> {
    load_or_create(private, public, &mut SeededRandom::new(&[3; 32]))
}

/// Returns the message of loading, without the directory.
fn refusal(private: &str, mode: u32, public: &str) -> String {
    let (directory, private, public) = files(private, mode, public);
    let error = load(&private, &public).err().expect("the keys were taken");
    assert_eq!(inspect(&private, &public).unwrap_err().to_string(), error.to_string());
    error.to_string().replace(&format!("{}/", directory.path().display()), "")
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_pair_is_loaded_from_either_private_form() {
    for private in [SERVER_PKCS1, SERVER_PKCS8] {
        let (_directory, private, public) = files(private, 0o600, SERVER_SPKI);
        let pair = load(&private, &public).ok().unwrap();
        assert_eq!(pair.origin, KeyOrigin::Loaded);
        assert_eq!(pair.public.thumbprint(), thumbprint_of(&public).unwrap());
        assert_eq!(thumbprint_of(&private).unwrap(), thumbprint_of(&public).unwrap());
    }
}

#[test]
fn both_missing_files_are_made_with_their_modes_and_their_directory() {
    let directory = TempDir::new();
    let (private, public) = (directory.join("a/b/priv.pem"), directory.join("a/c/pub.pem"));
    assert_eq!(inspect(&private, &public).unwrap(), KeyState::Absent);
    assert!(!directory.join("a").exists(), "looking changes nothing");
    let made = load(&private, &public).ok().unwrap();
    assert_eq!(made.origin, KeyOrigin::Generated);
    assert_eq!((mode_of(&private), mode_of(&public)), (0o600, 0o640));
    assert_eq!(mode_of(&directory.join("a/b")) & 0o027, 0);
    assert!(fs::read_to_string(&private).unwrap().starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    assert!(fs::read_to_string(&public).unwrap().starts_with("-----BEGIN PUBLIC KEY-----\n"));
    assert_eq!(fs::read_dir(directory.join("a/b")).unwrap().count(), 1, "nothing is left beside it");
    let loaded = load(&private, &public).ok().unwrap();
    assert_eq!((loaded.origin, loaded.public.thumbprint()), (KeyOrigin::Loaded, made.public.thumbprint()));
    let thumbprint = made.public.thumbprint();
    let present = KeyState::Present { bits: 2_048, thumbprint, public_is_missing: false };
    assert_eq!(inspect(&private, &public).unwrap(), present);
}

#[test]
fn a_missing_public_file_is_written_from_the_private_key() {
    let (_directory, private, public) = files(SERVER_PKCS1, 0o400, "");
    assert!(matches!(inspect(&private, &public).unwrap(), KeyState::Present { public_is_missing: true, .. }));
    assert!(!public.exists(), "looking changes nothing");
    assert_eq!(load(&private, &public).ok().unwrap().origin, KeyOrigin::PublicWritten);
    assert_eq!((fs::read_to_string(&public).unwrap().as_str(), mode_of(&public)), (SERVER_SPKI, 0o640));
}

#[test]
fn a_missing_private_file_is_named_with_the_remedy_and_nothing_is_made() {
    assert_eq!(
        refusal("", 0, SERVER_SPKI),
        "rsakey.priv.pem: the private key is missing, but its public half rsakey.pub.pem is there; restore the \
            private key, or \
         remove rsakey.pub.pem so that a new pair is made (peers must then be told the new thumbprint)"
    );
}

#[test]
fn a_private_key_that_others_can_replace_is_refused() {
    for mode in [0o666, 0o660, 0o622, 0o606] {
        assert_eq!(
            refusal(SERVER_PKCS1, mode, SERVER_SPKI),
            format!("rsakey.priv.pem: others can replace this private key (mode {mode:04o}); chmod 600 it")
        );
    }
}

#[test]
fn a_private_key_that_others_can_read_is_used_with_a_warning() {
    for (mode, is_warned) in [(0o600, false), (0o400, false), (0o640, true), (0o644, true), (0o604, true)] {
        let (_directory, private, public) = files(SERVER_PKCS1, mode, SERVER_SPKI);
        assert!(inspect(&private, &public).is_ok(), "{mode:o}");
        let text = format!("others can read this private key (mode {mode:04o}); chmod 600 {}", private.display());
        assert_eq!(warning(&private), is_warned.then_some(text), "{mode:o}");
    }
}

#[test]
fn keys_that_do_not_belong_together_are_refused() {
    assert_eq!(
        refusal(CLIENT_PKCS1, 0o600, SERVER_SPKI),
        "rsakey.pub.pem: does not belong to the private key rsakey.priv.pem; restore the right file, or remove this \
            one so that \
         it is written again"
    );
}

#[test]
fn what_is_no_usable_key_is_refused_by_name() {
    for (private, words) in [
        ("hello", "rsakey.priv.pem: is not an RSA key"),
        (SERVER_SPKI, "rsakey.priv.pem: is a public key"),
        (SHORT_PKCS1, "rsakey.priv.pem: has 1024 bits; 2048 to 4096 are allowed"),
        (
            "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
            "rsakey.priv.pem: is an elliptic-curve key",
        ),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "rsakey.priv.pem: is protected by a passphrase",
        ),
        (&"x".repeat(1 << 20), "rsakey.priv.pem: is longer than"),
    ] {
        let text = refusal(private, 0o600, SERVER_SPKI);
        assert!(text.starts_with(words), "{text}");
    }
    assert!(refusal(SERVER_PKCS1, 0o600, "hello").starts_with("rsakey.pub.pem: is not an RSA key"));
    assert!(refusal(SERVER_PKCS1, 0o600, SERVER_PKCS1).starts_with("rsakey.pub.pem: is a private key"));
}

#[test]
fn a_directory_in_place_of_a_key_is_refused() {
    let directory = TempDir::new();
    fs::create_dir(directory.join(PRIVATE_NAME)).unwrap();
    fs::set_permissions(directory.join(PRIVATE_NAME), Permissions::from_mode(0o700)).unwrap();
    let error = load(&directory.join(PRIVATE_NAME), &directory.join(PUBLIC_NAME)).err().unwrap();
    assert!(error.to_string().ends_with("cannot be read by this user: it is not a regular file"), "{error}");
}

#[test]
fn generating_never_overwrites_a_key() {
    let (directory, private, _public) = files("precious", 0o600, "");
    let error = generate_in(directory.path(), DEFAULT_BITS, &mut SeededRandom::new(&[4; 32])).err().unwrap();
    assert!(error.to_string().ends_with("rsakey.priv.pem: is already there; nothing was changed"), "{error}");
    assert_eq!(fs::read_to_string(private).unwrap(), "precious");
    assert!(!directory.join(PUBLIC_NAME).exists());
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let directory = TempDir::new();
    fs::write(directory.join("file"), "x").unwrap();
    let error = load(&directory.join("file/priv.pem"), &directory.join("pub.pem")).err().unwrap();
    assert!(error.to_string().contains("file/priv.pem: cannot be"), "{error}");
}
