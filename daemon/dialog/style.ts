// The look of the window. Sizes in em and theme colours, so that large fonts and dark themes carry over.
import { CHIP_STYLE } from './colours.ts';

export const STYLE = `
window.qmcp-question > box { padding: 0; }
.qmcp-band { min-height: 5px; background-color: #3584e4; }
.qmcp-band.destroy { background-color: #c01c28; }
.qmcp-body { padding: 18px 18px 16px 18px; }
.qmcp-body label { padding: 0 4px; }
.qmcp-body entry { margin: 0 4px; }
.qmcp-headline { font-size: 1.35em; font-weight: 700; }
.qmcp-fact-name { opacity: 0.72; }
.qmcp-prompt { font-weight: 700; }
.qmcp-foot { padding: 12px 22px 16px 22px; border-top: 1px solid alpha(currentColor, 0.15); }
.qmcp-countdown { font-weight: 700; font-feature-settings: "tnum"; }
.qmcp-hint { opacity: 0.85; }
.qmcp-foot button { min-width: 6em; padding: 5px 14px; }
window.dense label, window.dense button, window.dense entry { font-size: 0.92em; }
window.dense .qmcp-headline { font-size: 1.15em; }
window.dense .qmcp-body { padding: 10px 18px; }
window.dense .qmcp-foot { padding: 8px 22px 10px 22px; }
entry.qmcp-entry { font-family: monospace; }
${CHIP_STYLE}
`;
