%% Says on standard output what the scores of a file sound like, one line per event, cells parted by tabs; nothing is
%% typeset. Made for LilyPond 2.24: `lilypond -dinclude-settings=mutopia_log.ily FILE`, the file ending in
%% #(log:finish). Moments and lengths are fractions of a whole note. `models.mutopia_scores` reads these lines:
%%   SCORE                                                 a score begins
%%   STAFF  staff, brace over it or itself, label (names of brace and staff, MIDI name, id)
%%   N      moment, grace or not, length, pitch (MIDI), staff, tied on or not
%%   B      moment, place in the bar, beats, unit
%%   T      moment, quarters a minute
%%   END                                                   the score was heard to its end

#(define (log:say . cells) (display (string-join (map (lambda (cell) (format #f "~a" cell)) cells) "\t")) (newline))
#(define log:numbers (make-hash-table))
#(define (log:number thing)
  (cond ((not thing) 0)
        ((hashq-ref log:numbers thing))
        (else (hashq-set! log:numbers thing (+ 1 (hash-count (const #t) log:numbers))) (hashq-ref log:numbers thing))))
#(define (log:words said)
  (string-map (lambda (c) (if (char-set-contains? char-set:whitespace c) #\space c))
    (cond ((string? said) said)
          ((markup? said) (catch #t (lambda () (markup->string said)) (lambda _ "")))
          (else ""))))
#(define (log:now context) (ly:moment-main (ly:context-current-moment context)))
#(define (log:above context names)
  (cond ((not context) #f) ((memq (ly:context-name context) names) context)
        (else (log:above (ly:context-parent context) names))))
#(define (log:tied? note)
  (any (lambda (event) (memq 'tie-event (ly:event-property event 'class '())))
       (filter ly:stream-event? (ly:event-property note 'articulations '()))))

%% Rows wait for the end of the score: those of first endings are left out, those behind them moved to the front, and
%% notes that are held into one end there, as if nothing were repeated.
#(define log:rows '())
#(define log:brackets '())
#(define (log:row . row) (set! log:rows (cons row log:rows)))
#(define (log:bracket context way) (set! log:brackets (cons (cons (log:now context) way) log:brackets)))
#(define (log:first-endings)
  (let* ((before? (lambda (a b) (or (< (car a) (car b)) (and (= (car a) (car b)) (> (cdr a) (cdr b))))))
         (marks (sort (delete-duplicates log:brackets) before?)))
    (let loop ((rest marks) (found '()))
      (if (or (null? rest) (null? (cdr rest)) (null? (cddr rest)))
        found
        (let ((start (car rest)) (stop (cadr rest)) (next (caddr rest)))
          (loop (cdr rest)
            (if (and (equal? (map cdr (list start stop next)) '(-1 1 -1))
                     (< (car start) (car stop)) (= (car stop) (car next)))
              (cons (cons (car start) (car stop)) found)
              found)))))))
#(define (log:tell)
  (let* ((cuts (log:first-endings))
         (out? (lambda (at) (any (lambda (cut) (and (<= (car cut) at) (< at (cdr cut)))) cuts)))
         (moved (lambda (at)
           (- at (apply + (map (lambda (cut) (if (<= (cdr cut) at) (- (cdr cut) (car cut)) 0)) cuts)))))
         (held (lambda (at length)
           (apply min length (map (lambda (cut) (if (> (car cut) at) (- (car cut) at) length)) cuts)))))
    (for-each (lambda (row)
        (let ((kind (car row)) (at (cadr row)) (cells (cddr row)))
          (if (not (out? at))
            (apply log:say kind (moved at)
              (if (equal? kind "N") (cons* (car cells) (held at (cadr cells)) (cddr cells)) cells)))))
      (reverse log:rows))))

#(define log:known-staves (make-hash-table))
#(define (log:staff staff)
  (if (and staff (not (hashq-ref log:known-staves staff)))
    (let ((group (log:above staff '(PianoStaff GrandStaff))))
      (hashq-set! log:known-staves staff #t)
      (log:say "STAFF" (log:number staff) (log:number (or group staff))
        (string-join (map log:words
          (list (if group (ly:context-property group 'instrumentName "") "")
            (ly:context-property staff 'instrumentName "") (ly:context-property staff 'midiInstrument "")
            (ly:context-id staff)))
          " / ")))))

#(define (log:notes context)
  (let ((notes '()) (tie #f))
    (make-performer
      (listeners
        ((note-event performer event) (set! notes (cons event notes)))
        ((tie-event performer event) (set! tie #t)))
      ((process-music performer)
        (let* ((staff (log:above context '(Staff RhythmicStaff TabStaff DrumStaff MensuralStaff VaticanaStaff)))
               (shift (ly:context-property context 'instrumentTransposition))
               (semitones (if (ly:pitch? shift) (ly:pitch-semitones shift) 0)))
          (if (pair? notes) (log:staff staff))
          (for-each (lambda (event)
            (let ((pitch (ly:event-property event 'pitch)) (duration (ly:event-property event 'duration)))
              (if (and (ly:pitch? pitch) (ly:duration? duration))
                (log:row "N" (log:now context) (if (zero? (ly:moment-grace (ly:context-current-moment context))) 0 1)
                  (ly:moment-main (ly:duration-length duration))
                  (round (+ 60 (ly:pitch-semitones pitch) semitones))
                  (log:number staff) (if (or tie (log:tied? event)) 1 0)))))
            (reverse notes)))
        (set! notes '()) (set! tie #f)))))

#(define (log:bars context)
  (let ((tempo #f))
    (make-performer
      (listeners
        ((tempo-change-event performer event) (set! tempo event))
        ((volta-span-event performer event) (log:bracket context (ly:event-property event 'span-direction 0))))
      ((process-music performer)
        (let ((commands (ly:context-property context 'repeatCommands '())))
          (for-each (lambda (command)
            (if (and (pair? command) (eq? (car command) 'volta)) (log:bracket context (if (cadr command) -1 1))))
            (if (list? commands) commands '())))
        (if tempo
          (let ((count (ly:event-property tempo 'metronome-count)) (unit (ly:event-property tempo 'tempo-unit)))
            (if (and (ly:duration? unit) (or (number? count) (pair? count)))
              (log:row "T" (log:now context)
                (exact->inexact (* 4 (ly:moment-main (ly:duration-length unit))
                  (if (pair? count) (/ (+ (car count) (cdr count)) 2) count)))))
            (set! tempo #f)))
        (let ((position (ly:context-property context 'measurePosition))
              (meter (ly:context-property context 'timeSignatureFraction)))
          (if (and (ly:moment? position) (pair? meter) (ly:context-property context 'timing #t))
            (log:row "B" (log:now context) (ly:moment-main position) (car meter) (cdr meter))))))))

\midi {
  \context { \Voice \consists #log:notes }
  \context { \Score \consists #log:bars }
}

%% Scores that are typeset are heard; those for MIDI alone,
%% which unfold repeats, only where a file has no other.
#(define log:heard? #f)
#(define log:waiting '())
#(define (log:listen score)
  (set! log:heard? #t)
  (set! log:rows '())
  (set! log:brackets '())
  (log:say "SCORE")
  (catch #t
    (lambda ()
      (ly:run-translator (unfold-repeats 'tremolo (unfold-repeats 'percent (ly:score-music score))) $defaultmidi)
      (log:tell)
      (log:say "END"))
    (lambda (key . rest) (format (current-error-port) "error: ~a ~a\n" key rest))))
#(define (log:score score)
  (if (ly:score? score)
    (let* ((outputs (ly:score-output-defs score))
           (typeset? (lambda (output) (eq? 'layout (ly:output-def-lookup output 'output-def-kind #f)))))
      (if (or (null? outputs) (any typeset? outputs)) (log:listen score) (set! log:waiting (cons score log:waiting))))))
#(define (log:book book)
  (for-each (lambda (part) (if (ly:book? part) (log:book part))) (reverse (ly:book-book-parts book)))
  (for-each log:score (reverse (ly:book-scores book))))
#(define (log:finish) (if (not log:heard?) (for-each log:listen (reverse log:waiting))))
#(define toplevel-score-handler log:score)
#(define toplevel-text-handler (const #t))
#(define toplevel-music-handler (lambda (music) (collect-music-aux log:score music)))
#(define toplevel-book-handler log:book)
#(define toplevel-bookpart-handler log:book)

%% Names that are gone from LilyPond and that convert-ly leaves: they concern looks alone.
#(define (override-auto-beam-setting . rest) #t)
#(define (revert-auto-beam-setting . rest) #t)
#(define (score-override-auto-beam-setting . rest) #t)
#(define (set-script-property . rest) #t)
#(define (set-accidental-style . rest) #t)
