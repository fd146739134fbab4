//! HPKE against a second implementation, which itself is held to the vectors of RFC 9180.
//!
//! The RFC prints vectors of our KEM and KDF with AES-128-GCM only (appendix A.3). So the chain has two links: the second
//! implementation (`support/hpke.rs`) gives A.3.1, A.3.3 and A.3.4 byte for byte, and with AES-256-GCM it and the crate open each
//! other's messages and agree on every byte when the ephemeral key is the same.

#[path = "support/hpke.rs"]
mod independent;
mod support;

use hex_literal::hex;
use independent::{AeadId, Mode, Payload};
use kith_crypto::primitives::generate_secret;
use kith_crypto::sealed::one_shot::{self, Psk};
use p256::SecretKey;
use support::{Script, seeded};

const INFO: [u8; 20] = hex!("4f6465206f6e2061204772656369616e2055726e");
const PLAINTEXT: [u8; 29] = hex!("4265617574792069732074727574682c20747275746820626561757479");
const ASSOCIATED: [u8; 7] = hex!("436f756e742d30");

/// Mode auth.
const AUTH: Mode<'static> = Mode { is_auth: true, psk: &[], psk_id: &[] };

struct Vector {
    mode: Mode<'static>,
    ikm_e: [u8; 32],
    ikm_s: Option<[u8; 32]>,
    sk_s: [u8; 32],
    ikm_r: Option<[u8; 32]>,
    sk_r: [u8; 32],
    enc: [u8; 65],
    ciphertext: [u8; 45],
}

/// RFC 9180, appendix A.3.1 (base), A.3.3 (auth) and A.3.4 (auth-psk).
fn vectors() -> [Vector; 3] {
    [
        Vector {
            mode: Mode { is_auth: false, ..AUTH },
            ikm_e: hex!("4270e54ffd08d79d5928020af4686d8f6b7d35dbe470265f1f5aa22816ce860e"),
            ikm_s: None,
            // Mode base has no sender's key; any will do.
            sk_s: [1; 32],
            ikm_r: None,
            sk_r: hex!("f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2"),
            enc: hex!(
                "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f951c0900be863c"
                "403ce65c9bfcb9382657222d18c4"
            ),
            ciphertext: hex!(
                "5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f39513434"
            ),
        },
        Vector {
            mode: AUTH,
            ikm_e: hex!("798d82a8d9ea19dbc7f2c6dfa54e8a6706f7cdc119db0813dacf8440ab37c857"),
            ikm_s: Some(hex!("874baa0dcf93595a24a45a7f042e0d22d368747daaa7e19f80a802af19204ba8")),
            sk_s: hex!("1120ac99fb1fccc1e8230502d245719d1b217fe20505c7648795139d177f0de9"),
            ikm_r: Some(hex!("7bc93bde8890d1fb55220e7f3b0c107ae7e6eda35ca4040bb6651284bf0747ee")),
            sk_r: hex!("d929ab4be2e59f6954d6bedd93e638f02d4046cef21115b00cdda2acb2a4440e"),
            enc: hex!(
                "042224f3ea800f7ec55c03f29fc9865f6ee27004f818fcbdc6dc68932c1e52e15b79e264a98f2c535ef06745f3d30862441415"
                "3b22c7332bc1e691cb4af4d53454"
            ),
            ciphertext: hex!(
                "82ffc8c44760db691a07c5627e5fc2c08e7a86979ee79b494a17cc3405446ac2bdb8f265db4a099ed3289ffe19"
            ),
        },
        Vector {
            mode: Mode {
                is_auth: true,
                psk: &hex!("0247fd33b913760fa1fa51e1892d9f307fbe65eb171e8132c2af18555a738b82"),
                psk_id: &hex!("456e6e796e20447572696e206172616e204d6f726961"),
            },
            ikm_e: hex!("3c1fceb477ec954c8d58ef3249e4bb4c38241b5925b95f7486e4d9f1d0d35fbb"),
            ikm_s: Some(hex!("6262031f040a9db853edd6f91d2272596eabbc78a2ed2bd643f770ecd0f19b82")),
            sk_s: hex!("b0ed8721db6185435898650f7a677affce925aba7975a582653c4cb13c72d240"),
            ikm_r: Some(hex!("abcc2da5b3fa81d8aabd91f7f800a8ccf60ec37b1b585a5d1d1ac77f258b6cca")),
            sk_r: hex!("bdf4e2e587afdf0930644a0c45053889ebcadeca662d7c755a353d5b4e2a8394"),
            enc: hex!(
                "046a1de3fc26a3d43f4e4ba97dbe24f7e99181136129c48fbe872d4743e2b131357ed4f29a7b317dc22509c7b00991ae990bf6"
                "5f8b236700c82ab7c11a84511401"
            ),
            ciphertext: hex!(
                "b9f36d58d9eb101629a3e5a7b63d2ee4af42b3644209ab37e0a272d44365407db8e655c72e4fa46f4ff81b9246"
            ),
        },
    ]
}

const PAYLOAD: Payload<'static> = Payload { msg: &PLAINTEXT, aad: &ASSOCIATED };

#[test]
fn the_second_implementation_gives_the_vectors_of_the_rfc() {
    let mut run = 0;
    for vector in vectors() {
        let (sender, receiver) =
            (SecretKey::from_slice(&vector.sk_s).unwrap(), SecretKey::from_slice(&vector.sk_r).unwrap());
        for (ikm, expected) in [(vector.ikm_s, &sender), (vector.ikm_r, &receiver)] {
            if let Some(ikm) = ikm {
                assert_eq!(independent::derive_key_pair(&ikm).to_bytes(), expected.to_bytes());
            }
        }
        let keys = (&sender, &receiver.public_key(), &vector.ikm_e[..]);
        let (enc, ciphertext) = independent::seal(AeadId::Aes128, vector.mode, keys, &INFO, PAYLOAD);
        assert_eq!((&enc[..], &ciphertext[..]), (&vector.enc[..], &vector.ciphertext[..]));
        let keys = (&receiver, &sender.public_key(), &enc[..]);
        let payload = Payload { msg: &ciphertext, aad: &ASSOCIATED };
        let opened = independent::open(AeadId::Aes128, vector.mode, keys, &INFO, payload);
        assert_eq!(opened.unwrap(), PLAINTEXT);
        run += 1;
    }
    assert_eq!(run, 3);
}

#[test]
fn the_crate_seals_what_the_second_implementation_seals() {
    for vector in vectors().into_iter().filter(|vector| vector.mode.is_auth) {
        let (sender, receiver) =
            (SecretKey::from_slice(&vector.sk_s).unwrap(), SecretKey::from_slice(&vector.sk_r).unwrap());
        let mut buf = PLAINTEXT;
        let (enc, tag) = one_shot::seal(
            &sender,
            &receiver.public_key(),
            psk(&vector.mode),
            &INFO,
            &ASSOCIATED,
            &mut buf,
            &mut Script::new(&vector.ikm_e),
        )
        .unwrap();
        // The encapsulated key does not depend on the AEAD, so that the RFC's is ours.
        assert_eq!(enc, vector.enc);
        let keys = (&sender, &receiver.public_key(), &vector.ikm_e[..]);
        let expected = independent::seal(AeadId::Aes256, vector.mode, keys, &INFO, PAYLOAD);
        assert_eq!((enc.to_vec(), [&buf[..], &tag].concat()), expected);
    }
}

#[test]
fn each_implementation_opens_what_the_other_seals() {
    let mut rng = seeded(8);
    for round in 0..8usize {
        let (sender, receiver) = (generate_secret(&mut rng), generate_secret(&mut rng));
        let (public, remote) = (sender.public_key(), receiver.public_key());
        let mode = match round % 2 {
            0 => AUTH,
            _ => Mode { is_auth: true, psk: &[0x77; 32], psk_id: b"a token of 16 b." },
        };
        let text = vec![round as u8; 40 * round];
        let info = vec![9; round];

        let mut buf = text.clone();
        let (enc, tag) =
            one_shot::seal(&sender, &remote, psk(&mode), &info, b"associated", &mut buf, &mut rng).unwrap();
        buf.extend_from_slice(&tag);
        let payload = Payload { msg: &buf, aad: b"associated" };
        let opened = independent::open(AeadId::Aes256, mode, (&receiver, &public, &enc), &info, payload);
        assert_eq!(opened.as_ref(), Some(&text));

        let payload = Payload { msg: &text, aad: b"associated" };
        let keys = (&sender, &remote, &[round as u8; 32][..]);
        let (enc, mut sealed) = independent::seal(AeadId::Aes256, mode, keys, &info, payload);
        let enc = enc.as_slice().try_into().unwrap();
        let (buf, tag) = sealed.split_last_chunk_mut().unwrap();
        one_shot::open(&receiver, &public, psk(&mode), &info, b"associated", (enc, buf, tag)).unwrap();
        assert_eq!(buf, text);
    }
}

#[test]
fn an_empty_psk_id_is_refused() {
    let mut rng = seeded(8);
    let (sender, receiver) = (generate_secret(&mut rng), generate_secret(&mut rng));
    let psk = Some(Psk { key: &[1; 32], id: &[] });
    let refused = one_shot::seal(&sender, &receiver.public_key(), psk, &[], &[], &mut [0; 4], &mut rng);
    assert!(refused.is_err());
}

fn psk<'a>(mode: &Mode<'a>) -> Option<Psk<'a>> {
    let key = mode.psk.try_into().ok()?;
    Some(Psk { key, id: mode.psk_id })
}
