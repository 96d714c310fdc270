// qmcp.DetachDeviceAIManaged (contract 1.10): a device goes back to the managed qube it came from. It has no options.
import { crossingService } from './device-crossing.ts';

export const detachDevice = crossingService({
  verb: 'detach',
  service: 'qmcp.DetachDeviceAIManaged',
  headline: ['Detach', 'from'],
  meaning: {
    block: 'It loses the disk at once. What it has not written to it yet is lost.',
    mic: 'It no longer hears anything. It can be attached again.',
    usb: 'It loses the device at once, with whatever it was doing there. It can be attached again.',
  },
  options: () => [],
  optionWords: () => null,
});
