use super::*;
use crate::{Failure, Status};
use proptest::prelude::*;

fn body_of(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(1, &mut out);
    out.freeze().slice(HEADER_LEN..)
}

#[test]
fn trailing_bytes_unknown_fields_and_doubled_fields_are_refused() {
    let get = Message::from(Get { path: b"a/b".to_vec(), digest: 1 });
    let body = body_of(&get);
    assert_eq!(Message::decode(Kind::Get, body.clone()).unwrap(), get);
    for tail in [&[0u8][..], &[0x98, 0x06, 0x01], &[0x10, 0x01], &[0x18, 0x00]] {
        let longer = Bytes::from([&body[..], tail].concat());
        assert!(Message::decode(Kind::Get, longer).is_err(), "{tail:?}");
    }
    assert!(Message::decode(Kind::Get, body.slice(..body.len() - 1)).is_err());
}

#[test]
fn an_end_fits_its_frame_whatever_it_quotes() {
    let failure = Failure::new(Status::Failed, "é".repeat(20_000));
    let end = Message::from(End::from(failure));
    assert!(body_of(&end).len() <= Kind::End.cap(false) as usize);
    assert!(End::from(Failure::new(Status::Failed, "short")).message == "short");
}

#[test]
fn an_end_that_comes_too_early_is_never_a_success() {
    for end in [End::default().premature(), End::default().of_session()] {
        assert_ne!(end.status(), Status::Ok);
    }
}

#[test]
fn empty_kinds_stay_empty() {
    assert_eq!(Kind::Alive.cap(true), 0);
    assert_eq!(Kind::Cancel.cap(true), 0);
}

proptest! {
    #[test]
    fn decoding_never_panics_and_is_canonical(code in 0u8..128, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let Ok(kind) = Kind::from_wire(code) else { return Ok(()) };
        if body.len() as u32 > kind.cap(true) { return Ok(()) }
        let body = Bytes::from(body);
        if let Ok(message) = Message::decode(kind, body.clone()) {
            prop_assert_eq!(body_of(&message), body);
        }
    }
}
