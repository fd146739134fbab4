//! Programs that follow the messages: one that is none of ours, and `kithctl watch` as scripts use it.

use std::path::Path;
use std::time::Duration;

use kith_dbus::Inbox1Proxy;
use kith_system_tests::{Device, Process, Programs, within};
use serde_json::Value;

use crate::{Pair, numbered, queue_all, received, send_all};

/// Debian's, which has Debian's packages `python3-dbus` and `python3-gi`.
const PYTHON: &str = "/usr/bin/python3";

/// How long a line of a program that watches may take.
const LINE_MAX: Duration = Duration::from_secs(60);

fn answering(device: &Device, folder: &Path) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/answer_messages.py");
    let args = [&script.display().to_string(), device.bus_address()];
    Process::start("answer_messages", Path::new(PYTHON), &args, folder).unwrap()
}

#[tokio::test]
async fn a_program_in_python_that_is_killed_in_between_misses_no_message_and_answers_none_twice() {
    let mut pair = Pair::new().await;
    let folder = tempfile::tempdir().unwrap();
    let questions = numbered("question", 31);
    let mut program = answering(&pair.bob, folder.path());
    queue_all(&pair.to_bob, &questions[..20]).await;
    // It is killed in the middle of its work; others come while it is not there, and the messenger is restarted, too.
    pair.to_bob.wait_for_received(1).await.unwrap();
    program.kill();
    pair.to_bob.wait_until_nothing_waits().await.unwrap();
    send_all(&mut pair.to_bob, &questions[20..30]).await;
    pair.bob.stop().unwrap();
    pair.bob.run_again().await.unwrap();

    let program = answering(&pair.bob, folder.path());
    let answered = pair.to_bob.wait_for_received(30).await;
    assert!(answered.is_ok(), "{answered:?}: {}", program.errors());
    // Whatever came twice would come before the answer to this one.
    send_all(&mut pair.to_bob, &questions[30..]).await;
    pair.to_bob.wait_for_received(31).await.unwrap();
    let answers: Vec<_> = questions.iter().map(|question| format!("You said: {question}")).collect();
    assert_eq!(received(&pair.to_bob).await, answers);
}

/// `kithctl watch`, as a script would read it.
struct Watching {
    process: Process,
}

impl Watching {
    fn start(device: &Device, folder: &Path, options: &[&str]) -> Self {
        let args = [&["--bus-address", device.bus_address(), "--json", "watch"], options].concat();
        let program = Programs::locate().unwrap().path("kithctl");
        Self { process: Process::start("kithctl", &program, &args, folder).unwrap() }
    }

    /// The next line that is about a message.
    async fn next_message(&mut self) -> Value {
        loop {
            let line = format!("{{{}", self.process.wait_for_line("{", LINE_MAX).await.unwrap());
            let event: Value = serde_json::from_str(&line).unwrap();
            assert!(event["event"].is_string(), "{event}");
            if event["event"] == "message" {
                return event;
            }
        }
    }

    /// Waits until what was printed is acknowledged: nothing tells of that but the inbox itself.
    async fn acknowledged(&self, device: &Device) {
        let messenger = device.messenger().await.unwrap();
        let inbox = Inbox1Proxy::new(messenger.connection()).await.unwrap();
        let empty = within(LINE_MAX, "an acknowledgement", async {
            while !inbox.fetch("script", 0, 1).await?.is_empty() {}
            Ok(())
        });
        empty.await.unwrap();
    }

    async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            texts.push(self.next_message().await["text"].as_str().unwrap().to_owned());
        }
        texts
    }
}

#[tokio::test]
async fn a_script_that_reads_kithctl_watch_goes_on_where_it_was() {
    let mut pair = Pair::new().await;
    let folder = tempfile::tempdir().unwrap();
    let texts = numbered("line", 9);
    let named = ["--consumer", "script", "--ack"];
    let mut watching = Watching::start(&pair.bob, folder.path(), &named);
    send_all(&mut pair.to_bob, &texts[..3]).await;
    assert_eq!(watching.texts(3).await, texts[..3]);
    watching.acknowledged(&pair.bob).await;
    watching.process.kill();
    send_all(&mut pair.to_bob, &texts[3..6]).await;

    let mut watching = Watching::start(&pair.bob, folder.path(), &named);
    let next = watching.next_message().await;
    assert_eq!(next["text"], texts[3].as_str());
    assert_eq!(watching.texts(2).await, texts[4..6]);
    // Whoever keeps the place says it, and needs no name for that.
    let place = next["inbox_seq"].to_string();
    let mut other = Watching::start(&pair.bob, folder.path(), &["--after", &place]);
    assert_eq!(other.texts(2).await, texts[4..6]);
    // Both go on, also behind a restart of the messenger.
    pair.bob.stop().unwrap();
    pair.bob.run_again().await.unwrap();
    send_all(&mut pair.to_bob, &texts[6..]).await;
    assert_eq!(watching.texts(3).await, texts[6..]);
    assert_eq!(other.texts(3).await, texts[6..]);
}
