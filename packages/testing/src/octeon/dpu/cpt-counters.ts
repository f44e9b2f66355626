/** What the crypto engine counts. */
export interface CptCounts {
  /** Instructions, one for each packet of ESP that is sent or received. */
  readonly instructions: bigint
  /** Cycles that they took, summed. */
  readonly instructionLatency: bigint
  /** Reads of memory. */
  readonly ncbReads: bigint
  /** Cycles that those took, summed. */
  readonly ncbReadLatency: bigint
  /** Reads of microcode. */
  readonly ucFills: bigint
  /** Cycles in which an engine worked. */
  readonly activeCycles: bigint
  /** Cycles in all. */
  readonly clock: bigint
}

/** Cycles and reads of an instruction, on average, under light load. */
const PER_INSTRUCTION = { latency: 5_061n, reads: 30n, readLatency: 5_823n, active: 76_484n, clock: 1_052_244_890n }

/** What registering its algorithms has cost: the kernel tests each one. */
export const AFTER_SELFTESTS: CptCounts = {
  instructions: 71n,
  instructionLatency: 359_330n,
  ncbReads: 2_132n,
  ncbReadLatency: 413_458n,
  ucFills: 1_648n,
  activeCycles: 5_430_286n,
  clock: 74_709_386_111n,
}

/** Counts after so many further instructions. */
export function afterInstructions(counts: CptCounts, instructions: bigint): CptCounts {
  return {
    instructions: counts.instructions + instructions,
    instructionLatency: counts.instructionLatency + instructions * PER_INSTRUCTION.latency,
    ncbReads: counts.ncbReads + instructions * PER_INSTRUCTION.reads,
    ncbReadLatency: counts.ncbReadLatency + instructions * PER_INSTRUCTION.readLatency,
    ucFills: counts.ucFills,
    activeCycles: counts.activeCycles + instructions * PER_INSTRUCTION.active,
    clock: counts.clock + instructions * PER_INSTRUCTION.clock,
  }
}

/** The text of `cpt_pc`. */
export function formatCounts(counts: CptCounts): string {
  return [
    `CPT instruction requests   ${counts.instructions}`,
    `CPT instruction latency    ${counts.instructionLatency}`,
    `CPT NCB read requests      ${counts.ncbReads}`,
    `CPT NCB read latency       ${counts.ncbReadLatency}`,
    `CPT read requests caused by UC fills   ${counts.ucFills}`,
    `CPT active cycles pc       ${counts.activeCycles}`,
    `CPT clock count pc         ${counts.clock}`,
  ]
    .map((line) => `${line}\n`)
    .join('')
}
