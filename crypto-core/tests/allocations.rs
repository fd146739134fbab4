//! Records cost no allocation. A binary of its own: it replaces the global allocator by one that counts.

mod support;

use kith_crypto::session::RECORD_BYTES_MAX;
use kith_crypto::wire::{BODY_BYTES_MAX, Frame, Message};
use support::{Pair, pair};

const RECORDS: u64 = 10_000;

#[test]
fn ten_thousand_records_are_sealed_and_opened_without_an_allocation() {
    let Pair { mut at_a, mut at_b, .. } = pair();
    let mut buf = vec![0; RECORD_BYTES_MAX];
    let body = [0x42; BODY_BYTES_MAX];
    let mut opened = 0;
    let counted = allocation_counter::measure(|| {
        for number in 1..=RECORDS {
            let frame = Frame::Message(Message {
                id: [1; 16],
                conversation: [0; 16],
                number,
                sent_utc_ms: number,
                clock_trusted: true,
                content_type: "text/plain",
                reply_to: None,
                ttl_s: None,
                body: &body[..number as usize % BODY_BYTES_MAX],
            });
            let (from, to) = if number % 2 == 0 { (&mut at_a, &mut at_b) } else { (&mut at_b, &mut at_a) };
            let length = from.seal_frame(&frame, &mut buf).unwrap();
            if to.open_frame(&mut buf[..length]).unwrap() == Some(frame) {
                opened += 1;
            }
        }
    });
    assert_eq!(opened, RECORDS);
    eprintln!("{opened} records sealed and opened, {} allocations", counted.count_total);
    assert_eq!(counted.count_total, 0);
}

#[test]
fn the_counter_counts() {
    let counted = allocation_counter::measure(|| drop(std::hint::black_box(vec![0u8; 64])));
    assert_eq!(counted.count_total, 1);
}
