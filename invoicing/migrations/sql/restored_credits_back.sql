DROP TRIGGER restores ON credit_note_line;
DROP TRIGGER restores_sum ON credit_note_line;
DROP TRIGGER restores_sum ON credit_note;
DROP FUNCTION credit_note_line_restores;
DROP FUNCTION credit_note_restores;
