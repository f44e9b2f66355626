/**
 * Everything a change has to pass besides its tests. Usage: node scripts/check.ts [STEP …]; without a step all of them run.
 * A failed step does not stop the others: one round shows everything.
 */
import { spawnSync } from 'node:child_process'

interface Step {
  readonly name: string
  readonly what: string
  readonly commands: readonly (readonly string[])[]
}

const STEPS: readonly Step[] = [
  { name: 'lint', what: 'rules of .oxlintrc.json, with type information', commands: [['oxlint']] },
  { name: 'format', what: 'oxfmt (./run fmt repairs it)', commands: [['oxfmt', '--check']] },
  {
    name: 'types',
    what: 'packages, then tests, benchmarks and scripts, with TypeScript 7',
    commands: [
      ['node', 'node_modules/typescript-7/bin/tsc', '-b'],
      ['node', 'node_modules/typescript-7/bin/tsc', '-p', 'tsconfig.test.json'],
    ],
  },
  {
    name: 'types-6',
    what: 'the same sources with TypeScript 6, which many users still have',
    commands: [['tsc6', '-p', 'tsconfig.test.json']],
  },
  { name: 'docs', what: 'every export is documented', commands: [['typedoc', '--emit', 'none']] },
  { name: 'manifests', what: 'rules for package.json and imports', commands: [['node', 'scripts/check-packages.ts']] },
  {
    name: 'generated',
    what: 'generated code is what the .proto files give (./run gen repairs it)',
    commands: [['packages/protocol/generate.sh'], ['git', 'diff', '--exit-code', '--stat', '--', 'packages/protocol/src/gen']],
  },
]

function run(step: Step): boolean {
  const start = performance.now()
  for (const [command, ...args] of step.commands) {
    if (command === undefined) continue
    const done = spawnSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 28 })
    if (done.status !== 0) {
      process.stdout.write(done.stdout ?? '')
      process.stderr.write(done.stderr ?? '')
      if (done.error !== undefined) console.error(`${command} could not be started: ${done.error.message}`)
      console.log(`FAILED  ${step.name}: ${step.what}`)
      return false
    }
  }
  console.log(`ok      ${step.name} (${((performance.now() - start) / 1000).toFixed(1)} s)`)
  return true
}

const wanted = process.argv.slice(2)
const unknown = wanted.filter((name) => !STEPS.some((step) => step.name === name))
if (unknown.length > 0) {
  console.error(`there is no step ${unknown.join(', ')}; the steps are ${STEPS.map((step) => step.name).join(', ')}`)
  process.exit(2)
}
const failed = STEPS.filter((step) => wanted.length === 0 || wanted.includes(step.name)).filter((step) => !run(step))
if (failed.length > 0) {
  console.log(`check failed: ${failed.map((step) => step.name).join(', ')}`)
  process.exit(1)
}
