import { join } from 'node:path'
import { quoted } from './init.ts'

/** What is to be done in the virtual machine. */
export interface TaskOptions {
  /** Root folder of the workspace, on the host as in the machine. */
  readonly workspace: string
  /** Node. */
  readonly node: string
  /** Files with tests. */
  readonly files: readonly string[]
  /** Only tests with titles like this. */
  readonly title?: string | undefined
  /** File that the results go to. */
  readonly results: string
  /** Module that puts a bundle in the place of the sources. */
  readonly bundle: string
  /** Folder that Node keeps in what it has made of sources: emulated, to make it takes most of the time. */
  readonly compiled: string
}

/** The script that runs the tests in the virtual machine, all in one process. */
export function taskScript({ workspace, node, files, title, results, bundle, compiled }: TaskOptions): string {
  const argv = [
    ...[node, '--disable-warning=ExperimentalWarning', '--test', '--test-isolation=none'],
    ...['--test-reporter=spec', '--test-reporter-destination=stdout'],
    ...[`--test-reporter=${join(workspace, 'scripts/vm/reporter.ts')}`, `--test-reporter-destination=${results}`],
    ...(title === undefined ? [] : [`--test-name-pattern=${title}`]),
    ...files,
  ]
  const env = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/root',
    NO_COLOR: '1',
    NODE_COMPILE_CACHE: compiled,
    NODE_OPTIONS: `--import=${bundle}`,
  }
  return `cd ${quoted(workspace)}
exec env -i ${Object.entries(env)
    .map(([name, value]) => `${name}=${quoted(value)}`)
    .join(' ')} ${argv.map(quoted).join(' ')}
`
}
