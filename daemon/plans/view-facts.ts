// The Admin API's reads as the event-fed view can answer them, so that preparing a plan costs qubesd nothing. What the
// view does not hold is asked for. A commit does not use this: it decides on live facts.
import type { Snapshot, ViewedQube } from '../fleet/view.ts';
import { type Qube, realTags } from '../qube.ts';
import type { PropertyValue } from '../qubesadmin/admin.ts';
import type { AdminCall } from '../qubesadmin/client.ts';
import { AdminError } from '../qubesadmin/wire.ts';

export const factsOf = (snapshot: Snapshot, real: AdminCall): AdminCall => {
  const byUuid = new Map<string, ViewedQube>([...snapshot.values()].map((qube) => [qube.uuid, qube]));
  const all = Buffer.from([...snapshot.values()].map(row).join(''));
  return async (request) => {
    const { method, arg = '', dest } = request;
    if (dest === 'dom0') return method === 'admin.vm.List' ? all : real(request);
    const qube = 'uuid' in dest ? byUuid.get(dest.uuid) : snapshot.get(dest.name);
    if (!qube) throw new AdminError('exception', 'QubesVMNotFoundError');
    return answer(qube, method, arg) ?? real(request);
  };
};

const answer = (qube: ViewedQube, method: string, arg: string): Buffer | null => {
  switch (method) {
    case 'admin.vm.List':
      return qube.state === 'unknown' ? null : Buffer.from(row(qube));
    case 'admin.vm.CurrentState':
      return qube.state === 'unknown' ? null : Buffer.from(`power_state=${qube.state}`);
    case 'admin.vm.tag.List':
      return textOfTags(realTags(qube));
    case 'admin.vm.property.Get': {
      const held = qube.properties?.get(arg);
      return held ? Buffer.from(propertyText(held)) : null;
    }
    case 'admin.vm.property.GetAll':
      return qube.properties && Buffer.from([...qube.properties].map(propertyLine).join(''));
    default:
      return null;
  }
};

const textOfTags = (tags: Qube['tags']): Buffer | null =>
  tags && Buffer.from([...tags].map((tag) => `${tag}\n`).join(''));

const propertyText = ({ isDefault, type, text }: PropertyValue): string =>
  `default=${isDefault ? 'True' : 'False'} type=${type} ${text}`;

/** GetAll has one property a line. */
const propertyLine = ([name, value]: readonly [string, PropertyValue]): string =>
  `${name} ${propertyText(value).replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n`;

const row = ({ name, klass, state, uuid }: ViewedQube): string =>
  `${name} class=${klass} state=${state === 'unknown' ? 'NA' : state} uuid=${uuid}\n`;
