// Every property test starts from one seed, so that a change fails by what it changed and not by the luck of its day.
// QMCP_SEED=N, or QMCP_SEED=random, looks elsewhere; a failure prints its seed either way.
import fc from 'fast-check';

const SEED = 20_260_131;

const wanted = process.env.QMCP_SEED;
if (wanted !== 'random') fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: wanted ? Number(wanted) : SEED });
