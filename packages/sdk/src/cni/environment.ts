import { z } from 'zod'
import { cniName, interfaceName } from '../domain/attachment.ts'
import { OffloadError } from '../errors/offload-error.ts'
import { parseWith } from '../errors/parse.ts'
import { parseCniArgs } from './args.ts'
import type { CniEnvironment, CniVerb } from './model.ts'

/** Variables as a process has them. */
export type EnvironmentVariables = Readonly<Record<string, string | undefined>>

const attachment = { CNI_CONTAINERID: cniName, CNI_IFNAME: interfaceName }
// A relative path would mean something else in the daemon, whose working directory is not the runtime's.
const netns = { CNI_NETNS: z.string().max(4096).startsWith('/', 'an absolute path') }

/** What each verb requires; nothing else is looked at, for runtimes fill the rest with placeholders. */
const SCHEMAS: Readonly<Record<CniVerb, z.ZodObject<Record<string, z.ZodType<string>>>>> = {
  ADD: z.object({ ...attachment, ...netns }),
  CHECK: z.object({ ...attachment, ...netns }),
  DEL: z.object(attachment),
  GC: z.object({}),
  STATUS: z.object({}),
  VERSION: z.object({}),
}

const isVerb = (text: string): text is CniVerb => Object.hasOwn(SCHEMAS, text)

const requireAll = (env: EnvironmentVariables, names: readonly string[]): void => {
  const missing = names.filter((name) => (env[name] ?? '') === '')
  if (missing.length > 0) throw new OffloadError('INVALID_ENVIRONMENT', `required env variables [${missing.join(',')}] missing`)
}

/**
 * Parses the CNI_* variables of a call. A variable that is set but empty counts as missing, as runtimes set all of them.
 *
 * @throws OffloadError INVALID_ENVIRONMENT; the message names every variable that is missing, or what is wrong with one
 */
export function parseEnvironment(env: EnvironmentVariables): CniEnvironment {
  requireAll(env, ['CNI_COMMAND'])
  const verb = env['CNI_COMMAND'] ?? ''
  if (!isVerb(verb)) throw new OffloadError('INVALID_ENVIRONMENT', `unknown CNI_COMMAND: ${verb.slice(0, 64)}`)
  const schema = SCHEMAS[verb]
  requireAll(env, Object.keys(schema.shape))
  parseWith(schema, env, 'environment', 'INVALID_ENVIRONMENT')
  return {
    verb,
    containerId: env['CNI_CONTAINERID'] ?? '',
    netns: env['CNI_NETNS'] ?? '',
    ifName: env['CNI_IFNAME'] ?? '',
    args: parseCniArgs(env['CNI_ARGS'] ?? ''),
    path: (env['CNI_PATH'] ?? '').split(':').filter((folder) => folder !== ''),
  }
}
