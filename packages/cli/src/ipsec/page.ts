import type { Statement } from '@cni-offload/adapter-cilium/ipsec'
import type { Survey } from './survey.ts'

/** The table of a survey, with the evidence below. */
export function surveyPage({ all, nodes }: Survey, more: readonly string[] = []): string {
  const rows = nodes.length === 1 ? nodes : [...nodes, all]
  const width = Math.max(...rows.map(({ subject }) => subject.length), 'node'.length)
  const row = (subject: string, encrypted: string, hardware: string): string =>
    `${subject.padEnd(width)}  ${encrypted.padEnd(9)}  ${hardware}`
  return [
    row('node', 'encrypted', 'in hardware'),
    ...rows.map(({ subject, encrypted, inHardware }) => row(subject, encrypted.answer, inHardware.answer)),
    ...more,
    ...rows.flatMap((statement) => ['', ...details(statement)]),
  ].join('\n')
}

function details({ subject, encrypted, inHardware, evidence, warnings }: Statement): string[] {
  return [
    subject,
    `  encrypted: ${encrypted.answer}: ${encrypted.because}`,
    `  in hardware: ${inHardware.answer}: ${inHardware.because}`,
    ...warnings.map((warning) => `  warning: ${warning}`),
    ...evidence.map(({ what, value, from }) => `  · ${what}: ${value} (${from})`),
  ]
}
