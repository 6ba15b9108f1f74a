//! The model and the screen on events that are made up: no driver, no plugin, no terminal.

use driver_api::event::{Fact, Flags, Ids};
use inspect::testing::{Ev, deliver, isolated};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;
use session::Consumer;

use crate::app::{Action, App, Page};
use crate::draw::draw;
use crate::filter::complete;
use crate::model::{CaptureState, Model};
use crate::pane::{Order, Pane, rows};
use crate::processes;
use crate::run::{Plan, Request, RuleChoice};
use crate::watcher::Watcher;

/// A watcher without rules that has seen these events.
fn watched(events: &[Ev]) -> Watcher {
    let plan = Plan::new(&Request {
        events: Vec::new(),
        condition: None,
        rules: RuleChoice::None,
        rules_plugin: "rules-falco".to_owned(),
        plugin_dirs: vec!["/nonexistent".into()],
    });
    let mut watcher = plan.unwrap().into_watcher();
    watcher.begin(isolated(), false);
    see(&mut watcher, events);
    watcher
}

fn see(watcher: &mut Watcher, events: &[Ev]) {
    deliver(events, |event| {
        watcher.event(event);
    });
    watcher.refresh();
    watcher.shared.model().tick(1.0);
}

fn open(pid: u32, path: &str, result: i64) -> Ev {
    let event = Ev::call(pid, "openat", &[-100, 1, 0], result).said(1, path.as_bytes());
    if result < 0 {
        return event;
    }
    let parts: Vec<&str> = path.rsplit('/').filter(|part| !part.is_empty()).collect();
    event.parts(Fact::Path, &parts)
}

/// A shell that starts `cat`, which reads a file and connects somewhere.
fn scene() -> Vec<Ev> {
    let exec = |pid, exe: &str, argv: &[&str]| Ev::exec(pid, exe, argv, Ids::default());
    vec![
        exec(10, "/bin/sh", &["sh", "-c", "cat"]),
        Ev::fork(10, 11, 11, 0),
        exec(11, "/bin/cat", &["cat", "/etc/hosts"]),
        open(11, "/etc/hosts", 3),
        Ev::call(11, "read", &[3, 1, 4096], 100),
        Ev::call(11, "write", &[3, 1, 4096], 7),
        open(11, "/etc/none", -2),
        Ev::call(11, "socket", &[2, 1, 0], 4),
        Ev::call(11, "connect", &[4, 1, 16], 0).tuple(([127, 0, 0, 1], 4000), ([1, 2, 3, 4], 80)),
        Ev::call(11, "getpid", &[], 11).fact(Fact::Took, &1500_u64.to_ne_bytes()),
    ]
}

fn app() -> App {
    let mut app = App::new(true, true);
    app.is_ascii = true;
    app
}

/// The screen, one text for each line.
fn screen(app: &mut App, model: &Model, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| -> String { (0..width).map(|x| buffer[(x, y)].symbol()).collect() };
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

fn press(app: &mut App, model: &Model, code: KeyCode) -> Action {
    app.key(KeyEvent::new(code, KeyModifiers::NONE), model)
}

fn write(app: &mut App, model: &Model, text: &str) {
    for c in text.chars() {
        press(app, model, KeyCode::Char(c));
    }
}

/// The words of the first line that has this text.
fn words<'a>(screen: &'a [String], text: &str) -> Vec<&'a str> {
    let line = screen.iter().find(|line| line.contains(text));
    let line = line.unwrap_or_else(|| panic!("no {text:?} in\n{}", screen.join("\n")));
    line.split_whitespace().collect()
}

#[test]
fn events_are_counted_by_process_call_file_and_connection() {
    let watcher = watched(&scene());
    let model = watcher.shared.model();
    let mut app = app();
    let mut shown = |key| {
        press(&mut app, &model, KeyCode::Char(key));
        screen(&mut app, &model, 120, 24)
    };
    let processes = shown('1');
    assert_eq!(
        words(&processes, "`- cat")[..5],
        ["11", "0", "8.0", "8", "1"]
    );
    assert_eq!(words(&processes, "sh -c cat")[2..4], ["2.0", "2"]);
    let calls = shown('3');
    assert_eq!(
        words(&calls, " openat"),
        ["2.0", "2", "1", "-", "-", "openat"]
    );
    assert_eq!(
        words(&calls, " getpid"),
        ["1.0", "1", "0", "1.50us", "1.50us", "getpid"]
    );
    let files = shown('4');
    assert_eq!(
        words(&files, "/etc/hosts"),
        ["3.0", "3", "0", "100", "7", "/etc/hosts"]
    );
    assert_eq!(words(&files, "/etc/none")[..3], ["1.0", "1", "1"]);
    let connections = shown('5');
    let name = "127.0.0.1:4000->1.2.3.4:80";
    assert_eq!(words(&connections, name)[..2], ["1.0", "1"]);
    assert!(screen(&mut app, &model, 80, 24)[0].contains("10 in all"));
}

#[test]
fn results_that_a_driver_does_not_report_are_not_shown_as_errors() {
    let mut event = Ev::call(10, "getpid", &[], 0);
    event.header.flags |= Flags::NO_RESULT;
    let watcher = watched(&[event]);
    let mut app = app();
    app.at = 2;
    let shown = screen(&mut app, &watcher.shared.model(), 80, 24);
    assert_eq!(
        words(&shown, " getpid"),
        ["1.0", "1", "-", "-", "-", "getpid"]
    );
}

#[test]
fn every_pane_and_page_fits_every_screen() {
    let watcher = watched(&scene());
    let key = (watcher.shared.model().processes.iter())
        .find(|(_, row)| row.pid == 11)
        .map(|(key, _)| key);
    let key = key.unwrap();
    watcher.shared.model().follow(key);
    watcher.shared.model().wrote(b"a line");
    watcher.shared.model().notice = Some("a notice".to_owned());
    watcher.shared.model().filter = "evt.type = open".to_owned();
    let model = watcher.shared.model();
    let sizes = (1..60).map(|width| (width, width.min(25)));
    let sizes = sizes.chain([(80, 24), (40, 10), (200, 60), (150, 30), (20, 6), (500, 3)]);
    for (width, height) in sizes {
        for pane in 0..Pane::ALL.len() {
            let mut app = app();
            app.at = pane;
            app.asks_to_leave = pane == 3;
            let shown = screen(&mut app, &model, width, height);
            assert_eq!(shown.len(), usize::from(height));
            if width >= 40 && height >= 10 {
                assert!(shown[1].starts_with("lost 0"), "{shown:?}");
                assert!(shown[1].contains("CPU"), "{shown:?}");
            }
        }
        let mut app = app();
        press(&mut app, &model, KeyCode::Char('?'));
        app.pages.push(Page::Events(key, crate::app::Scroll::END));
        app.pages.push(Page::Rule {
            rule: 0,
            marked: 0,
            offset: 0,
        });
        press(&mut app, &model, KeyCode::Char('/'));
        write(&mut app, &model, "proc.");
        press(&mut app, &model, KeyCode::Tab);
        while app.pages.pop().is_some() {
            screen(&mut app, &model, width, height);
        }
    }
}

#[test]
fn without_colours_nothing_has_one() {
    let watcher = watched(&scene());
    let model = watcher.shared.model();
    for pane in 0..Pane::ALL.len() {
        let mut app = app();
        app.has_colours = false;
        app.at = pane;
        let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
        terminal
            .draw(|frame| draw(frame, &mut app, &model))
            .unwrap();
        let cells = terminal.backend().buffer().content();
        let is_plain =
            |cell: &ratatui::buffer::Cell| cell.fg == Color::Reset && cell.bg == Color::Reset;
        assert!(cells.iter().all(is_plain), "pane {pane}");
        // the row and the tab that are marked are marked without colours
        assert!(cells.iter().any(|cell| !cell.modifier.is_empty()));
    }
}

#[test]
fn a_process_that_has_ended_says_so_without_colours() {
    let watcher = watched(&[
        Ev::call(11, "getpid", &[], 1),
        Ev::exit(11, 11),
        // the state forgets a process when the next event comes
        Ev::call(10, "getpid", &[], 1),
    ]);
    let mut model = watcher.shared.model().clone();
    // without events, the rate is 0
    model.tick(1.0);
    let shown = screen(&mut app(), &model, 80, 24);
    let rate = |pid: &str| words(&shown[4..], pid)[1].to_owned();
    assert_eq!(
        (rate("10").as_str(), rate("11").as_str()),
        ("0", "ended"),
        "{shown:?}"
    );
}

#[test]
fn text_of_programs_cannot_reach_the_terminal() {
    let name = "/tmp/\x1b[2J\u{202e}\u{4e2d}\u{301}\r\n\x07x";
    let hostile = [
        Ev::exec(
            12,
            "/bin/\x1b]0;x",
            &["\x1b[31m", "\u{4e2d}"],
            Ids::default(),
        ),
        open(12, name, 3),
        Ev::call(12, "write", &[1, 1, 4], 4).said(1, name.as_bytes()),
    ];
    let watcher = watched(&hostile);
    let key = watcher
        .shared
        .model()
        .processes
        .iter()
        .next()
        .map(|(key, _)| key);
    watcher.shared.model().follow(key.unwrap());
    watcher.shared.model().wrote(name.as_bytes());
    let model = watcher.shared.model();
    let mut seen = String::new();
    for pane in 0..Pane::ALL.len() {
        let mut app = app();
        app.at = pane;
        seen += &screen(&mut app, &model, 200, 40).join("\n");
        app.pages
            .push(Page::Events(key.unwrap(), crate::app::Scroll::END));
        seen += &screen(&mut app, &model, 200, 40).join("\n");
    }
    let is_safe = |c: char| c == '\n' || (!c.is_control() && c.is_ascii());
    assert!(seen.chars().all(is_safe), "{seen:?}");
    assert!(seen.contains("/tmp/\\x1b[2J"), "{seen}");
}

#[test]
fn keys_sort_select_and_open() {
    let watcher = watched(&scene());
    let mut model = watcher.shared.model().clone();
    let mut app = app();
    let first = |app: &mut App, model: &Model| screen(app, model, 80, 24)[4].clone();
    assert!(first(&mut app, &model).ends_with("sh -c cat"));
    // as a list, the busiest process is the first
    press(&mut app, &model, KeyCode::Char('t'));
    assert!(first(&mut app, &model).ends_with("cat /etc/hosts"));
    press(&mut app, &model, KeyCode::Char('r'));
    assert!(first(&mut app, &model).ends_with("sh -c cat"));
    press(&mut app, &model, KeyCode::Down);
    screen(&mut app, &model, 80, 24);
    let Action::Follow(Some(process)) = press(&mut app, &model, KeyCode::Enter) else {
        panic!("Enter follows a process");
    };
    model.follow(process);
    let page = screen(&mut app, &model, 120, 24);
    assert!(page[3].contains("Events of 11 cat /etc/hosts"), "{page:?}");
    let events: Vec<&String> = page.iter().filter(|line| line.contains("11/11 ")).collect();
    assert_eq!(events.len(), 8, "{page:?}");
    assert!(events[2].contains("cat  read(3, "), "{page:?}");
    assert_eq!(press(&mut app, &model, KeyCode::Esc), Action::Follow(None));
    // Enter on a file is a filter for it
    press(&mut app, &model, KeyCode::Char('4'));
    screen(&mut app, &model, 80, 24);
    press(&mut app, &model, KeyCode::Enter);
    let shown = screen(&mut app, &model, 80, 24);
    assert!(
        shown[23].contains("fs.path.name = \"/etc/hosts\""),
        "{shown:?}"
    );
    press(&mut app, &model, KeyCode::Esc);
    // the columns that a narrow screen does not have are left out
    press(&mut app, &model, KeyCode::Char('1'));
    for _ in 0..4 {
        screen(&mut app, &model, 40, 10);
        press(&mut app, &model, KeyCode::Char('s'));
        let order = app.order().by;
        assert!(Pane::Processes.columns()[order].from <= 40);
    }
}

#[test]
fn a_condition_is_typed_and_completed_and_its_errors_are_shown_in_place() {
    let watcher = watched(&scene());
    let model = watcher.shared.model();
    let mut app = app();
    press(&mut app, &model, KeyCode::Char('/'));
    write(&mut app, &model, "proc.cmdlin");
    press(&mut app, &model, KeyCode::Tab);
    write(&mut app, &model, "contains q");
    let shown = screen(&mut app, &model, 80, 24);
    assert_eq!(shown[23], "filter: proc.cmdline contains q");
    let action = press(&mut app, &model, KeyCode::Enter);
    assert_eq!(action, Action::Filter("proc.cmdline contains q".to_owned()));
    app.prompt.as_mut().unwrap().error = Some("it is wrong\nhere".to_owned());
    let shown = screen(&mut app, &model, 80, 24);
    assert_eq!(shown[21..23], ["it is wrong", "here"]);
    write(&mut app, &model, " ");
    assert!(!screen(&mut app, &model, 80, 24)[22].contains("here"));
    press(&mut app, &model, KeyCode::Esc);
    assert!(app.prompt.is_none());
    assert!(complete("fd.").choices.len() > 10);
}

#[test]
fn a_picture_stands_still_while_counting_goes_on() {
    let mut watcher = watched(&scene());
    let mut app = app();
    press(&mut app, &watcher.shared.model(), KeyCode::Char('p'));
    see(&mut watcher, &[Ev::call(11, "getppid", &[], 10)]);
    let shown = screen(&mut app, &watcher.shared.model(), 80, 24);
    assert!(shown[0].contains("PAUSED"), "{shown:?}");
    assert!(shown[0].contains("10 in all"), "{shown:?}");
    press(&mut app, &watcher.shared.model(), KeyCode::Char('p'));
    let shown = screen(&mut app, &watcher.shared.model(), 80, 24);
    assert!(shown[0].contains("11 in all"), "{shown:?}");
}

#[test]
fn leaving_a_command_that_runs_needs_a_decision() {
    let watcher = watched(&scene());
    let mut model = watcher.shared.model().clone();
    let mut app = app();
    assert_eq!(press(&mut app, &model, KeyCode::Char('q')), Action::Nothing);
    let shown = screen(&mut app, &model, 80, 24);
    assert!(shown[23].contains("end it and quit"), "{shown:?}");
    press(&mut app, &model, KeyCode::Esc);
    press(&mut app, &model, KeyCode::Char('q'));
    assert_eq!(
        press(&mut app, &model, KeyCode::Char('e')),
        Action::EndCommand
    );
    app.asks_to_leave = false;
    model.source = CaptureState::Ended("exit status 0".to_owned());
    assert_eq!(press(&mut app, &model, KeyCode::Char('q')), Action::Quit);
}

#[test]
fn memory_does_not_grow_with_what_programs_do() {
    let mut watcher = watched(&[]);
    let most = u32::try_from(processes::MOST).unwrap();
    for pid in 0..most + 100 {
        let events = [
            Ev::fork(1, pid + 100, pid + 100, 0),
            open(pid + 100, &format!("/tmp/{pid}{}", "x".repeat(600)), 3),
            open(pid + 100, &format!("/var/{pid}{}", "x".repeat(600)), 3),
        ];
        deliver(&events, |event| {
            watcher.event(event);
        });
    }
    let model = watcher.shared.model();
    assert_eq!(model.processes.iter().count(), processes::MOST);
    assert!(model.processes.others.events > 0);
    assert!(model.files.others().is_some());
    let kept = model.files.iter().count();
    let others = model.files.others().map_or(0, |others| others.count.events);
    assert_eq!(kept as u64 + others, 2 * u64::from(most + 100));
    let shown = rows(Pane::Processes, &model, app().order());
    assert!(shown.len() > 1000);
}

#[test]
fn processes_that_ended_make_room() {
    let mut watcher = watched(&[]);
    for round in 0..3_u32 {
        let most = u32::try_from(processes::MOST).unwrap();
        for pid in 0..most / 2 {
            let pid = 10 + round * most + pid;
            see_only(
                &mut watcher,
                &[Ev::call(pid, "getpid", &[], 1), Ev::exit(pid, pid)],
            );
        }
        watcher.refresh();
        watcher.shared.model().tick(1.0);
    }
    let model = watcher.shared.model();
    let last = model.processes.iter().map(|(_, row)| row.pid).max();
    assert!(last.unwrap() > 2 * u32::try_from(processes::MOST).unwrap());
}

fn see_only(watcher: &mut Watcher, events: &[Ev]) {
    deliver(events, |event| {
        watcher.event(event);
    });
}

#[test]
fn a_deep_tree_is_drawn() {
    let mut events = vec![Ev::exec(10, "/bin/sh", &["sh"], Ids::default())];
    for pid in 10..400 {
        events.push(Ev::fork(pid, pid + 1, pid + 1, 0));
    }
    let watcher = watched(&events);
    let model = watcher.shared.model();
    let order = Order {
        by: 2,
        is_reversed: false,
        is_tree: true,
        with_ended: true,
        is_ascii: true,
    };
    assert!(rows(Pane::Processes, &model, order).len() >= 390);
}
