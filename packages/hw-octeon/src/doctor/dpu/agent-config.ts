import { posix } from 'node:path'
import { ifPresent, type Machine } from '@cni-offload/linux/machine'
import { checkAgentConfig } from '../../cfg/check.ts'
import { problemText } from '../../cfg/problem.ts'
import { broken, doubtful, fine, type OcteonFinding, unseen } from '../finding.ts'

const OWN = 'Make one for this node: offload octeon cfg --node NAME; then start the agent again.'
const SHOWN = 3

/**
 * Looks at the configuration that the control agent was started with, which takes nearly anything and says nothing.
 *
 * @param source - path, and the process that was given it: that may have another current or root folder
 */
export async function configFinding(
  machine: Machine,
  source: { readonly path: string; readonly pid?: number } | undefined,
): Promise<OcteonFinding> {
  if (source === undefined) return unseen('no control agent runs, and no configuration is named')
  const found = await readFirst(machine, await placesOf(machine, source))
  if (found === undefined) return broken(source.path, 'it cannot be read', OWN)
  const { problems } = checkAgentConfig(found.text)
  const of = (severity: 'error' | 'warning'): readonly string[] =>
    problems.filter((one) => one.severity === severity).map((one) => problemText(found.path, one))
  const [errors, warnings] = [of('error'), of('warning')]
  const seen = `${found.path}: ${errors.length} errors, ${warnings.length} warnings`
  if (errors.length > 0) return broken(seen, errors.slice(0, SHOWN).join('; '), OWN)
  if (warnings.length > 0) return doubtful(seen, warnings.slice(0, SHOWN).join('; '), OWN)
  return fine(found.path)
}

async function placesOf(machine: Machine, { path, pid }: { readonly path: string; readonly pid?: number }): Promise<readonly string[]> {
  if (pid === undefined) return [path]
  const cwd = path.startsWith('/') ? '/' : ((await ifPresent(machine.readlink(`/proc/${pid}/cwd`), ['ENOENT', 'EACCES', 'EPERM'])) ?? '/')
  const absolute = posix.join(cwd, path)
  // In a container its root is another one, which the kernel shows here.
  return [`/proc/${pid}/root${absolute}`, absolute]
}

async function readFirst(
  machine: Machine,
  paths: readonly string[],
): Promise<{ readonly path: string; readonly text: string } | undefined> {
  for (const path of paths) {
    const text = await ifPresent(machine.read(path), ['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'ESRCH'])
    if (text !== undefined) return { path, text }
  }
  return undefined
}
