//! A line of a backup: the first one, or one behind it.

use kithd::backup::reread;

use crate::{Target, Verdict, bound};

/// What is read is written in one form, which is read as the same. What stands in a line costs in proportion to it.
pub const BACKUP: Target = Target { name: "backup", run, seeds };

const HEADER: u8 = 0;
const LINE: u8 = 1;

/// A value of two bytes is one of 32 until its line is known, and a list that grows is there twice for a moment.
const COST_FACTOR: usize = 64;
/// What the shortest line costs: keys are computed, a signature is verified.
const COST_BYTES_MAX: usize = 32 * 1024;

fn run(input: &[u8]) -> Verdict {
    let Some((what, bytes)) = input.split_first() else { return Verdict::Refused };
    let reread = match *what {
        HEADER => reread::header,
        _ => reread::line,
    };
    let Some(written) = bound::within(COST_FACTOR * bytes.len() + COST_BYTES_MAX, || reread(bytes)) else {
        return Verdict::Refused;
    };
    assert!(!written.contains(&b'\n'), "a line is one line");
    assert_eq!(reread(&written).as_ref(), Some(&written));
    Verdict::Read
}

/// One line of each kind (docs/protocol.md §8.7).
fn seeds() -> Vec<Vec<u8>> {
    let (anna, bert) = (crate::known::anna(), crate::known::bert());
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let id = anna.client_id();
    let headers = [
        format!(r#"{{"format":"kith backup","version":1,"client_id":"{id}","created_ms":1800000000000}}"#),
        format!(
            r#"{{"format":"kith sealed backup","version":1,"client_id":"{id}","kdf":"PBKDF2-HMAC-SHA256","iterations":200000,"salt":"{}","cipher":"AES-256-GCM STREAM","file_salt":"{}"}}"#,
            "32".repeat(16),
            "39".repeat(32)
        ),
    ];
    let (secret, card) = (hex(&anna.to_secret_bytes()[..]), hex(bert.card().as_bytes()));
    let incarnation = "05".repeat(16);
    let message =
        r#""seq":3,"id":"10101010101010101010101010101010","direction":"incoming","state":"delivered","number":7"#;
    let lines = [
        format!(r#"{{"kind":"identity","secret":"{secret}"}}"#),
        format!(r#"{{"kind":"tags","key":"{}"}}"#, "33".repeat(32)),
        r#"{"kind":"profile","display_name":"Anna"}"#.to_owned(),
        r#"{"kind":"retention","messages_max":0,"days_max":30}"#.to_owned(),
        format!(
            r#"{{"kind":"contact","card":"{card}","name":"Bert","state":"paired","major_min":1,"paired_ms":1,"seen_ms":0,"incarnation":"{incarnation}","last_seq":3,"read_seq":2,"unread":1,"sent_number":1,"missing":0,"verified":true,"blocked":false,"marks":[{{"incarnation":"{incarnation}","number":7}}]}}"#
        ),
        format!(
            r#"{{"kind":"message",{message},"incarnation":"{incarnation}","sent_ms":1,"clock_trusted":true,"done_ms":2,"type":"text/plain","reply_to":"11111111111111111111111111111111","ttl_s":60,"text":"hello \"you\"\n"}}"#
        ),
        format!(
            r#"{{"kind":"message",{message},"incarnation":"{incarnation}","sent_ms":1,"clock_trusted":false,"done_ms":2,"type":"image/png","base64":"/wA="}}"#
        ),
        format!(r#"{{"kind":"key","tag":"{incarnation}","id":"{incarnation}"}}"#),
        format!(r#"{{"kind":"inbox","place":1,"contact":"{}","seq":3}}"#, bert.client_id()),
        format!(r#"{{"kind":"cursor","tag":"{incarnation}","place":1}}"#),
    ];
    let seed = |what: u8, text: &String| [&[what], text.as_bytes()].concat();
    headers.iter().map(|text| seed(HEADER, text)).chain(lines.iter().map(|text| seed(LINE, text))).collect()
}
