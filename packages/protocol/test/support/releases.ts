import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { loadPackageDefinition, type ServiceDefinition } from '@grpc/grpc-js'
import { load } from '@grpc/proto-loader'

/**
 * Releases of the protocol before and after this one.
 *
 * `older`: as it was before "kept", "request", "had", "repairs", "host_enforces", settings of VFs, the status of a problem and Heartbeat. `newer`: this one with everything
 * added that its rules allow to be added without a new version.
 */
export type Release = 'older' | 'newer'

const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export const PROTO: string = file('../../proto/offload/v1/offload.proto')
export const OLDER: string = file('./older.proto')

/** What a next release could add, by the block that it is added to. */
const ADDED: Readonly<Record<string, string>> = {
  'service Offload': 'rpc Measure(MeasureRequest) returns (MeasureResponse);',
  'message AttachmentKey': 'string tenant = 101;',
  'message PodIdentity': 'map<string, string> labels = 101;',
  'message VfId': 'uint32 generation = 101;',
  'message IpAssignment': 'uint64 expires_ms = 101;',
  'message AttachResult': 'repeated string groups = 101;',
  'message VfAdminSettings': 'optional bool mirror = 101;',
  'message VfVlan': 'uint32 inner = 101;',
  'message OffloadFlags': 'bool prefer_inline = 101;',
  'message HandshakeRequest': 'string zone = 101;',
  'message HandshakeResponse': 'MeasureResponse load = 101;',
  'message AttachRequest': 'map<string, uint64> shaping = 101;',
  'message AttachResponse': 'string uplink = 101;',
  'message DetachRequest': 'string why = 101;',
  'message CheckRequest': 'bool thorough = 101;',
  'message StatusRequest': 'uint32 expected_pods = 101;',
  'message ListResponse': 'uint64 since_ms = 101;',
  'message RepairRecord': 'string by = 101;',
  'message ResyncRequest': 'uint32 remaining = 101;',
  'message ResyncResponse': 'uint32 took_ms = 101;',
  'message Problem': 'string hint = 101;',
  'message HeartbeatRequest': 'uint32 load = 101;',
  'message HeartbeatResponse': 'uint32 load = 101;',
  'enum AttachmentPhase': 'ATTACHMENT_PHASE_PARKED = 101;',
  'enum ResyncAction': 'RESYNC_ACTION_MOVED = 101;',
}

const NEW_MESSAGES = 'message MeasureRequest {} message MeasureResponse { uint32 percent = 1; }'

/** The description of the next release. */
export async function newerProto(): Promise<string> {
  let text = await readFile(PROTO, 'utf8')
  for (const [block, added] of Object.entries(ADDED)) {
    const whole = new RegExp(`^${block} \\{[^]*?^\\}`, 'm')
    if (!whole.test(text)) throw new Error(`there is no ${block} any more`)
    text = text.replace(whole, (found) => `${found.slice(0, -1)}${added}\n}`)
  }
  return `${text}\n${NEW_MESSAGES}\n`
}

/** The service with the messages of a release. Absent fields stay absent; fields that it does not know are not sent. */
export async function serviceOf(release: Release): Promise<ServiceDefinition> {
  const dir = await mkdtemp(join(tmpdir(), 'offload-release-'))
  try {
    const path = join(dir, 'offload.proto')
    await writeFile(path, release === 'older' ? await readFile(OLDER) : await newerProto())
    const loaded = loadPackageDefinition(await load(path, { keepCase: true, longs: Number, enums: String }))
    return (loaded as any).offload.v1.Offload.service as ServiceDefinition
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** PEM files, read. */
export async function readPem(files: { ca: string; cert: string; key: string }): Promise<{ ca: Buffer; cert: Buffer; key: Buffer }> {
  const [ca, cert, key] = await Promise.all([readFile(files.ca), readFile(files.cert), readFile(files.key)])
  return { ca, cert, key }
}
