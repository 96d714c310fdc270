// qmcpctl audit: reading and checking the journal.
import { auditVerify } from './audit-verify.ts';
import { group } from './command.ts';

export const audit = group('qmcpctl audit', 'Reads and checks the journal of what happened.', {
  verify: auditVerify,
});
