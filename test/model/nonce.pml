/* The life cycle of one plan's nonce (daemon/plans, daemon/confirm), against everything that may happen beside it.
 *
 * The operator answers or does not; a qube of the plan may change;
 * the source may be frozen; the broker may be killed and started again at any point. The journal is what outlives a kill.
 */

mtype = { none, prepared, asked, running, ended };

#define RESTARTS 2

mtype state = none;       /* the plan in memory; lost with the broker */
bool journalled = false;  /* the intent that names the nonce is on disk: it outlives the broker */
bool cancelled = false;
bool frozen = false;
bool touched = false;     /* a qube of the plan changed since it was resolved */
bool expired = false;
bool answered = false;    /* a valid receipt for exactly this digest arrived */
bool question = false;    /* a question about it is on the screen */
byte executions = 0;      /* effects begun for this nonce */
byte restarts = 0;

/* I2: an effect was begun with a yes, before the deadline, on untouched qubes.
   I3: its consumption was on disk before, and it never happens twice. */
inline begin_effect() {
  assert(answered);
  assert(journalled);
  assert(!touched);
  executions++;
  assert(executions == 1);
}

proctype Owner() {
  do
  :: atomic { state == none && executions == 0 && !journalled && !frozen ->
       state = prepared; touched = false; cancelled = false; expired = false }
  /* Commit: only a prepared plan, and from here on it is not prepared any more. A second Commit finds nothing. */
  :: atomic { state == prepared && !frozen && !expired -> state = asked; question = true }
  :: atomic { state == prepared -> cancelled = true; state = none }
  :: atomic { state == asked -> cancelled = true }
  :: atomic { state == running -> cancelled = true }
  :: state == ended -> break
  :: restarts == RESTARTS -> break
  od
}

proctype Operator() {
  do
  :: atomic { question -> answered = true; question = false }
  :: atomic { question -> question = false; state = ended }             /* denied, closed, crashed, timed out */
  :: atomic { question -> question = false; state = ended; frozen = true } /* denied and frozen */
  :: atomic { !frozen -> frozen = true; if :: state == prepared -> state = none :: else fi }
  :: atomic { frozen -> frozen = false }
  :: state == ended -> break
  :: restarts == RESTARTS -> break
  od
}

proctype World() {
  do
  /* A change voids a prepared plan at once, and is remembered against an asked one. */
  :: atomic { state == prepared -> touched = true; state = none }
  :: atomic { state == asked && !journalled -> touched = true }
  :: atomic { state == prepared -> expired = true }
  :: state == ended -> break
  :: restarts == RESTARTS -> break
  od
}

proctype Broker() {
  do
  :: atomic { state == asked && answered && !journalled ->
       /* Under the locks of its qubes: resolved again, still the same, not cancelled, not frozen. */
       if
       :: touched || cancelled || frozen -> state = ended
       :: else -> journalled = true      /* fsync of the intent */
       fi }
  /* The step between the fsync and the effect is where a kill hurts most. */
  :: atomic { state == asked && answered && journalled -> state = running; begin_effect() }
  :: atomic { state == running -> state = ended }
  /* SIGKILL and start: memory is gone, the journal is not; nothing is retried. */
  :: atomic { restarts < RESTARTS ->
       restarts++; state = none; question = false; answered = false; cancelled = false; expired = false; touched = false }
  :: state == ended -> break
  :: restarts == RESTARTS -> break
  od
}

init {
  atomic { run Owner(); run Operator(); run World(); run Broker() }
}

ltl once { [] (executions <= 1) }
ltl consumed_first { [] (executions == 1 -> journalled) }
