// qmcpctl audit: reading and checking the journal.
import { auditReport } from './audit-report.ts';
import { auditExport, auditShow, auditTail } from './audit-show.ts';
import { auditVerify } from './audit-verify.ts';
import { group } from './command.ts';

export const audit = group('qmcpctl audit', 'read, check and export the journal of what happened', {
  tail: auditTail,
  show: auditShow,
  verify: auditVerify,
  export: auditExport,
  report: auditReport,
});
