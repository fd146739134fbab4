//! Links that find a direct path.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;

use tokio::time::{Instant, sleep_until};

use super::*;
use crate::link::{MESSAGE_BYTES_MAX, OUTGOING_MESSAGES_MAX};

const MESSAGES: usize = 1_000;

/// From 1 byte to the largest, evenly.
fn nth(number: usize) -> Vec<u8> {
    message(number, 1 + number * (MESSAGE_BYTES_MAX - 1) / (MESSAGES - 1))
}

#[tokio::test]
async fn messages_of_every_size_arrive_in_order_both_ways() {
    let mut pair = Pair::direct().await;
    for number in 0..OUTGOING_MESSAGES_MAX / 2 {
        pair.offerer.links.transmit(LINK, nth(number));
        pair.answerer.links.transmit(LINK, nth(number));
    }
    let (mut to_offerer, mut to_answerer) = (0, 0);
    let since = Instant::now();
    while to_offerer < MESSAGES || to_answerer < MESSAGES {
        let (who, LinkReport::Frame(frame)) = pair.next().await else { panic!("not a frame") };
        let arrived = if who == Who::Offerer { &mut to_offerer } else { &mut to_answerer };
        assert_eq!(frame, nth(*arrived), "message {arrived}");
        *arrived += 1;
        // As many more as have arrived, so that the sender's queue stays filled and is not full.
        let next = *arrived + OUTGOING_MESSAGES_MAX / 2 - 1;
        if next < MESSAGES {
            let sender = if who == Who::Offerer { Who::Answerer } else { Who::Offerer };
            pair.side(sender).links.transmit(LINK, nth(next));
        }
    }
    eprintln!("{MESSAGES} messages of 1 to {MESSAGE_BYTES_MAX} bytes each way: {:?}", since.elapsed());
}

#[tokio::test]
async fn fingerprints_agree_crosswise_and_each_connection_has_its_own() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (offerer, answerer) = Pair::open(&Ice::default(), false).up().await;
        assert_eq!((offerer.own, offerer.remote), (answerer.remote, answerer.own));
        assert_eq!((offerer.path, answerer.path), (LinkPath::Direct, LinkPath::Direct));
        seen.extend([offerer.own, answerer.own]);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 4);
}

#[tokio::test]
async fn messages_sent_before_and_right_after_up_are_not_lost_and_come_after_the_others_up() {
    let mut pair = Pair::open(&Ice::default(), false);
    for number in 0..50 {
        pair.offerer.links.transmit(LINK, message(number, 100));
        pair.answerer.links.transmit(LINK, message(number, 100));
    }
    let (mut ups, mut arrived) = ([false; 2], [0; 2]);
    while arrived != [100; 2] {
        let (who, report) = pair.next().await;
        let side = if who == Who::Offerer { 0 } else { 1 };
        match report {
            LinkReport::Frame(frame) => {
                assert!(ups[side], "a frame came before Up");
                assert_eq!(frame, message(arrived[side], 100));
                arrived[side] += 1;
            }
            up => {
                up_of(up);
                assert!(!std::mem::replace(&mut ups[side], true), "Up came twice");
                for number in 50..100 {
                    pair.side(who).links.transmit(LINK, message(number, 100));
                }
            }
        }
    }
}

#[tokio::test]
async fn closing_one_side_is_noticed_by_the_other_at_once() {
    for closer in [Who::Offerer, Who::Answerer] {
        let mut pair = Pair::direct().await;
        let since = Instant::now();
        pair.side(closer).links.close(LINK);
        assert!(!pair.side(closer).links.is_open(LINK));
        let (who, report) = pair.next().await;
        assert_ne!(who, closer, "{report:?} after close");
        let LinkReport::Event(LinkEvent::Down(why)) = report else { panic!("{report:?} instead of Down") };
        assert!(why.contains("closed"), "{why}");
        // Far below the 4 s after which the connection itself would say so.
        assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn without_settings_every_address_of_this_device_is_offered() {
    let (mut links, reports) = Links::new(Settings::default());
    links.open(LINK, LinkRole::Offerer, Ice::default(), false);
    let mut side = Side { links, reports };
    let expected: BTreeSet<IpAddr> = crate::network::addresses().into_iter().collect();
    if expected.is_empty() {
        assert_eq!(side.down().await, "this device has no network address to connect from");
        return;
    }
    let offer = side.offer().await;
    let candidates = offer.lines().filter(|line| line.starts_with("a=candidate:"));
    let offered: BTreeSet<IpAddr> = candidates.map(|line| line.split(' ').nth(4).unwrap().parse().unwrap()).collect();
    assert_eq!(offered, expected);
    assert!(offer.ends_with("\r\na=end-of-candidates\r\n"), "{offer}");
}

#[tokio::test]
async fn without_servers_one_word_from_each_side_is_enough() {
    let pair = Pair::direct().await;
    let said: Vec<_> = pair.said.iter().map(|(who, words)| (*who, std::mem::discriminant(words))).collect();
    let offer = std::mem::discriminant(&Negotiation::Offer(String::new()));
    let answer = std::mem::discriminant(&Negotiation::Answer(String::new()));
    assert_eq!(said, [(Who::Offerer, offer), (Who::Answerer, answer)]);
}

#[tokio::test]
async fn fifty_links_are_set_up_one_after_the_other() {
    let mut times = Vec::new();
    for _ in 0..50 {
        let since = Instant::now();
        let _pair = Pair::direct().await;
        times.push(since.elapsed());
    }
    let (p50, max) = p50_and_max(times);
    eprintln!("direct set-up of 50: p50 {p50:?}, max {max:?}");
}

#[tokio::test]
async fn round_trips_do_not_wait_for_a_timer() {
    let mut pair = Pair::direct().await;
    let mut times = Vec::new();
    for number in 0..1_000 {
        let since = Instant::now();
        pair.offerer.links.transmit(LINK, message(number, 100));
        let (_, LinkReport::Frame(frame)) = pair.next().await else { panic!("not a frame") };
        pair.answerer.links.transmit(LINK, frame);
        assert_eq!(pair.next().await, (Who::Offerer, LinkReport::Frame(message(number, 100))));
        times.push(since.elapsed());
    }
    let (p50, max) = p50_and_max(times);
    eprintln!("direct round trip of 100 bytes: p50 {p50:?}, max of 1,000 {max:?}");
}

#[tokio::test]
async fn dropping_the_owner_ends_every_task_and_the_other_side_notices() {
    let pair = Pair::direct().await;
    let (mut offerer, answerer) = (pair.offerer, pair.answerer);
    drop(answerer.links);
    let mut reports = answerer.reports;
    while timeout(PATIENCE, reports.recv()).await.unwrap().is_some() {}
    assert!(offerer.down().await.contains("closed"));

    drop(offerer.links);
    while timeout(PATIENCE, offerer.reports.recv()).await.unwrap().is_some() {}
    // The queue ends when the tasks of the links do; those of the library were aborted then.
    let ended = async {
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test]
async fn an_owner_dropped_during_set_up_leaves_no_task() {
    let mut side = Side::open(LinkRole::Offerer);
    side.offer().await;
    drop(side.links);
    while timeout(PATIENCE, side.reports.recv()).await.unwrap().is_some() {}
    let ended = async {
        while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_ends_the_link_with_a_sentence() {
    let mut side = Side::open(LinkRole::Answerer);
    for number in 0..=OUTGOING_MESSAGES_MAX {
        side.links.transmit(LINK, message(number, 10));
    }
    assert_eq!(side.broken().await, "more than 256 messages were waiting to be sent; the other side is too slow");
}

#[tokio::test]
async fn a_loop_that_does_not_read_stops_the_other_side_from_sending() {
    let mut pair = Pair::direct().await;
    // The answerer's reports are not read. What fits into all buffers on the way is bounded: the
    // owner's and the task's queue here, the library's two queues of 256, and the two windows.
    let bound = OUTGOING_MESSAGES_MAX + crate::link::REPORTS_MAX + 2 * 256 + 64;
    let mut sent = 0;
    let why = loop {
        assert!(sent < bound, "{sent} messages are on the way");
        pair.offerer.links.transmit(LINK, message(sent, MESSAGE_BYTES_MAX));
        sent += 1;
        match timeout(Duration::from_millis(5), pair.offerer.reports.recv()).await {
            Ok(Some((_, LinkReport::Event(LinkEvent::Broken(why))))) => break why,
            Ok(report) => panic!("{report:?}"),
            Err(_) => {}
        }
    };
    assert!(why.contains("too slow"), "{why}");
    eprintln!("a loop that does not read lets {sent} of the largest messages leave the other side's loop");
    for number in 0.. {
        match pair.answerer.happening().await {
            LinkReport::Frame(frame) => assert_eq!(frame, message(number, MESSAGE_BYTES_MAX)),
            LinkReport::Event(LinkEvent::Down(_)) => break,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_message_too_long_to_send_ends_the_link() {
    let mut side = Side::open(LinkRole::Offerer);
    side.links.transmit(LINK, vec![0; MESSAGE_BYTES_MAX + 1]);
    assert_eq!(side.down().await, "a message of 16385 bytes was to be sent; the most is 16384");
}

#[tokio::test]
async fn nothing_is_reported_after_close() {
    let mut side = Side::open(LinkRole::Offerer);
    side.links.close(LINK);
    side.links.transmit(LINK, vec![1]);
    side.links.negotiate(LINK, Negotiation::Offer(String::new()));
    drop(side.links);
    assert_eq!(timeout(PATIENCE, side.reports.recv()).await.unwrap(), None);
}

#[tokio::test]
async fn links_of_one_owner_do_not_disturb_each_other() {
    let mut pair = Pair::direct().await;
    let other = LinkId(8);
    pair.offerer.links.open(other, LinkRole::Offerer, Ice::default(), false);
    assert!(matches!(pair.offerer.reports.recv().await, Some((id, _)) if id == other));
    pair.offerer.links.close(other);
    pair.offerer.links.transmit(LINK, vec![1]);
    assert_eq!(pair.answerer.happening().await, LinkReport::Frame(vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_not_answered_goes_down() {
    let mut side = Side::open(LinkRole::Offerer);
    assert_eq!(side.down().await, "the other side did not answer within 15 s");
    let mut side = Side::open(LinkRole::Answerer);
    assert_eq!(side.down().await, "the other side did not answer within 15 s");
}

#[tokio::test]
async fn a_signaling_server_far_away_costs_its_own_time_and_little_more() {
    let mut times = Vec::new();
    for _ in 0..5 {
        let mut pair = Pair::open(&Ice::default(), false);
        let since = Instant::now();
        let latency = Duration::from_millis(20);
        let mut on_the_way: VecDeque<(Instant, Who, Negotiation)> = VecDeque::new();
        let mut ups = 0;
        while ups < 2 {
            let due = on_the_way.front().map(|(at, ..)| *at);
            tokio::select! {
                () = async { match due { Some(due) => sleep_until(due).await, None => pending().await } } => {
                    let (_, to, words) = on_the_way.pop_front().unwrap();
                    pair.side(to).links.negotiate(LINK, words);
                }
                report = pair.offerer.report() => match report {
                    LinkReport::Event(LinkEvent::Local(words)) => on_the_way.push_back((Instant::now() + latency, Who::Answerer, words)),
                    report => { up_of(report); ups += 1; }
                },
                report = pair.answerer.report() => match report {
                    LinkReport::Event(LinkEvent::Local(words)) => on_the_way.push_back((Instant::now() + latency, Who::Offerer, words)),
                    report => { up_of(report); ups += 1; }
                },
            }
        }
        times.push(since.elapsed());
    }
    eprintln!("set-up with 20 ms of signaling each way: {times:?}");
}
